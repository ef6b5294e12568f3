//! What becomes of a plain claim: one whose judgement changes nothing but its own occurrence.
//!
//! Follows `pipeline/governance/kernel.py` step by step, for the claims that most traffic consists of:
//! a platform speaks of an occurrence for the first time, and nothing that was decided before is
//! decided anew. Whatever else a step finds is [`Unusual`], before anything has changed: Python judges.

use crate::avro;
use crate::avro::{Plainly, Unusual};
use crate::conflict::{decide, differs, moves, publishes, refine};
use crate::entity::{self, Entity, Occurrence, Voice};
use crate::identity;
use crate::json::is_simple;
use crate::placement::{Placed, locate, locate_again};
use crate::policy::{Platform, Policy, Text};
use crate::publication::{may_publish, publish, take_plan, tell, tells};
use crate::raw::{self, Body, PRECISIONS, Told};

/// What a run of claims is judged by.
pub struct Setting<'a> {
    pub policy: &'a Policy,
    pub partition: i32,
    pub partitions: u32,
    /// Append time up to which every input has been read, ms UTC; of those read further, theirs.
    pub clock: i64,
    pub ahead: Vec<(String, i64)>,
    pub approved_id: [u8; 4],
    pub link_id: [u8; 4],
}

impl Setting<'_> {
    /// The clock of all of these inputs.
    pub fn clock_of(&self, inputs: &[Text]) -> i64 {
        let of = |name: &Text| {
            let found = self.ahead.iter().find(|(topic, _)| **topic == **name);
            found.map_or(self.clock, |(_, at)| *at)
        };
        inputs.iter().map(of).min().unwrap_or(self.clock)
    }
}

/// A record of a raw topic.
pub struct Record<'a> {
    pub topic: &'a str,
    pub offset: i64,
    pub received: i64,
    pub size: i64,
    pub digest: [u8; 16],
    pub seq: i64,
}

/// A later fate of an earlier claim.
pub struct Transition {
    pub seq: i64,
    pub before: Text,
    pub after: &'static str,
    pub reason: &'static str,
    pub rule: Text,
    pub event_type: Text,
    pub milestone: String,
    pub platform: Text,
    pub claim: Text,
}

/// What came of a claim.
#[derive(Default)]
pub struct Outcome {
    pub disposition: &'static str,
    pub reason: &'static str,
    pub rule: Text,
    pub event_type: Text,
    pub milestone: String,
    pub revision: i64,
    pub deadline: Option<i64>,
    /// Whether the entity has changed.
    pub touched: bool,
    /// The approved record.
    pub approved: Option<Vec<u8>>,
    pub transitions: Vec<Transition>,
    /// Target and value.
    pub links: Vec<(Text, Vec<u8>)>,
}

/// Who speaks, and for which tenant.
pub fn speaker<'p>(policy: &'p Policy, topic: &str, body: &Body) -> Plainly<(&'p Platform, &'p str)> {
    let platform = policy.platforms.get(body.platform).ok_or(Unusual)?;
    let known = platform.topics.iter().any(|name| **name == *topic);
    if !known || &*platform.role == "OPS_DESK" || platform.retracts_by_id {
        return Err(Unusual);
    }
    let tenant = match &platform.tenant {
        Some(tenant) => tenant,
        None => platform.accounts.get(body.account.unwrap_or("")).ok_or(Unusual)?,
    };
    if policy.horizons_ms.contains_key(tenant) { Ok((platform, tenant)) } else { Err(Unusual) }
}

/// Canonical key of the entity that a claim is about.
pub fn key_of(platform: &Platform, tenant: &str, body: &Body) -> Plainly<String> {
    let kind = body.entity_type.filter(|kind| matches!(*kind, "order" | "shipment" | "stock"));
    let (kind, written) = (kind.ok_or(Unusual)?, body.entity_id.trim_matches(' '));
    if written.is_empty() || written.len() > 200 || !is_simple(written) {
        return Err(Unusual);
    }
    let mut name = written.to_owned();
    for rule in platform.id_rules.get(kind).map_or(&[][..], Vec::as_slice) {
        name = match &**rule {
            "trim" => name.trim_matches(' ').to_owned(),
            "upper" => name.to_ascii_uppercase(),
            "strip_zeros" => match name.trim_start_matches('0') {
                "" => name,
                rest => rest.to_owned(),
            },
            "no_blanks" => name.replace(' ', ""),
            "alphanumeric" => name.chars().filter(char::is_ascii_alphanumeric).collect(),
            _ => name,
        };
    }
    let mut key = String::with_capacity(tenant.len() + kind.len() + name.len() + 8);
    identity::quote(&mut key, tenant);
    key.push('/');
    key.push_str(kind);
    key.push('/');
    identity::quote(&mut key, if name.is_empty() { written } else { &name });
    Ok(key)
}

/// Judge a claim. When it is unusual the entity is as it was.
pub fn judge(
    setting: &Setting,
    entity: &mut Entity,
    platform: &Platform,
    body: &Body,
    record: &Record,
) -> Plainly<Outcome> {
    let policy = setting.policy;
    if is_silent_for_long(setting, entity) {
        return Err(Unusual);
    }
    let mark = &record.digest[..8];
    if entity.has_seen(mark) {
        return Ok(Outcome { disposition: "duplicate", reason: "repeated", ..Outcome::default() });
    }
    let placed = locate(setting, entity, platform, body, record)?;
    let weight = body.weight();
    let known: i64 = entity.occurrences.iter().map(|item| item.weight).sum();
    if known + weight + 2 * record.size > policy.entity_weight_max {
        return Err(Unusual);
    }
    let found = entity.find(&placed.kind.name, &placed.tag);
    if placed.kind.sets_plan {
        if !entity.may_plan() {
            return Err(Unusual);
        }
        if !entity.is_fresh(found) {
            changes_nothing(setting, entity, platform, &placed, body, record)?;
        }
    }
    let mut voices = match found {
        None => Vec::new(),
        Some(at) => entity.occurrences[at].voices()?,
    };
    if voices.iter().any(|voice| *voice.platform == *body.platform) {
        return Err(Unusual);
    }
    voices.push(voice_of(setting, entity, &placed, body, record));
    let own = voices.len() - 1;
    let occurrence = found.map(|at| &entity.occurrences[at]);
    let judgement = decide(setting, entity, occurrence, placed.kind, &voices)?;
    let publishes = publishes(occurrence, &judgement, &voices, own)?;
    let transitions = moves(&judgement, &voices, own, &placed.kind.name)?;
    if publishes {
        may_publish(policy, entity, &placed, body)?;
    }
    let mine = judgement.fates.iter().find(|fate| fate.at == own).ok_or(Unusual)?;
    if mine.deadline.is_some() && entity.open_claims() + 1 > policy.open_claims_max {
        return Err(Unusual);
    }
    let tells = tells(setting, entity, &placed)?;
    let mut outcome = Outcome {
        disposition: mine.disposition,
        reason: mine.reason,
        rule: mine.rule.into(),
        event_type: placed.kind.name.clone(),
        deadline: mine.deadline,
        touched: true,
        transitions,
        ..Outcome::default()
    };
    // From here on nothing is unusual
    entity.active = entity.active.max(record.received);
    let at = found.unwrap_or_else(|| {
        let id = identity::milestone_id(&entity.key, &placed.kind.name, &placed.tag, entity.generation);
        let kind = policy.kind_at[&placed.kind.name];
        entity.occurrences.push(Occurrence::new(&placed.kind.name, kind, &placed.tag, id));
        entity.occurrences.len() - 1
    });
    outcome.milestone = identity::uuid(&entity.occurrences[at].id);
    for transition in &mut outcome.transitions {
        transition.milestone = outcome.milestone.clone();
    }
    if publishes {
        outcome.revision = 1;
        let rule = judgement.owner.map_or("", |(_, authority)| &authority.rule);
        let tolerance_ms = judgement.owner.map_or(0, |(_, authority)| authority.tolerance_ms);
        outcome.approved =
            Some(publish(setting, entity, at, platform, &placed, body, record, &voices, rule, tolerance_ms));
    } else {
        refine(&mut entity.occurrences[at], &judgement, &voices);
    }
    for fate in &judgement.fates {
        let voice = &mut voices[fate.at];
        let moved = voice.fate == "held" && differs(voice, fate);
        if fate.at == own || moved {
            voice.fate = fate.disposition.into();
        }
        voice.reason = fate.reason.into();
        voice.deadline = fate.deadline;
    }
    let occurrence = &mut entity.occurrences[at];
    occurrence.weight += weight;
    occurrence.seal(&voices);
    entity.remember(mark, policy.seen_max);
    if tells {
        tell(setting, entity, record, &mut outcome);
    }
    Ok(outcome)
}

/// See that a first plan, which comes after other claims, moves none of these.
fn changes_nothing(
    setting: &Setting,
    entity: &mut Entity,
    platform: &Platform,
    placed: &Placed,
    body: &Body,
    record: &Record,
) -> Plainly<()> {
    let before = (entity.start, entity.region.clone());
    take_plan(setting.policy, entity, platform, placed, body, record);
    let stay = entity.occurrences.iter().try_for_each(|occurrence| stays(setting, entity, occurrence));
    entity.plans.clear();
    (entity.start, entity.region) = before;
    stay
}

/// See that all that is said of an occurrence would be judged again as it was.
fn stays(setting: &Setting, entity: &Entity, occurrence: &Occurrence) -> Plainly<()> {
    let policy = setting.policy;
    let kind = policy.kind(occurrence.kind).filter(|kind| !kind.sets_plan).ok_or(Unusual)?;
    let voices = occurrence.voices()?;
    for voice in &voices {
        let told = Told::read(&voice.front)?;
        let platform = policy.platforms.get(&*voice.platform).ok_or(Unusual)?;
        let placed = locate_again(policy, entity, platform, &told.body()?, voice.received)?;
        let same = placed.kind.name == kind.name
            && placed.tag == occurrence.discriminator
            && placed.region == voice.region
            && placed.place == voice.place;
        if !same {
            return Err(Unusual);
        }
    }
    let judgement = decide(setting, entity, Some(occurrence), kind, &voices)?;
    let decided = judgement.fates.iter().all(|fate| {
        let voice = &voices[fate.at];
        !differs(voice, fate) && voice.deadline == fate.deadline
    });
    let stands = match judgement.owner {
        None => !occurrence.stands,
        Some((owner, _)) => {
            occurrence.stands
                && occurrence.assurance == entity::AUTHORITATIVE
                && voices[owner].seq == occurrence.claim_seq
        }
    };
    if decided && stands && judgement.fates.len() == voices.len() { Ok(()) } else { Err(Unusual) }
}

/// Whether the entity is to be forgotten before anything is said of it.
fn is_silent_for_long(setting: &Setting, entity: &Entity) -> bool {
    let lasts = setting.policy.horizons_ms.get(&entity.tenant).copied().unwrap_or(0);
    let over = entity.active + lasts + setting.policy.forgets_after_ms;
    entity.active != 0 && over <= setting.clock && entity.next_deadline().is_none()
}

fn voice_of(setting: &Setting, entity: &Entity, placed: &Placed, body: &Body, record: &Record) -> Voice {
    let front = &mut Vec::with_capacity(512);
    body.keep(front);
    match record.topic.strip_prefix("logistics.raw.").and_then(|rest| rest.strip_suffix(".v1")) {
        Some(platform) if platform == body.platform => front.push(0),
        _ => raw::kept_text(front, record.topic),
    }
    avro::long(front, i64::from(setting.partition));
    avro::long(front, record.offset);
    avro::long(front, record.received);
    avro::long(front, record.seq);
    avro::bytes(front, &record.digest);
    raw::kept_text(front, &entity.tenant);
    front.extend_from_slice(&[0, 0]); // repaired by nobody, no hops
    front.push(u8::from(placed.clock_ahead));
    front.extend_from_slice(&[0, 255]); // not as it came, of itself
    raw::kept_text(front, &placed.written);
    raw::kept_optional(front, placed.region.as_deref());
    raw::kept_optional(front, placed.place.as_deref());
    match &placed.content {
        None => front.push(0),
        Some(content) => front.extend_from_slice(content),
    }
    front.extend_from_slice(&[0, 0, 0, 0]); // first received then; order, barrier and target none
    avro::long(front, body.occurred);
    raw::kept_text(front, PRECISIONS[body.precision]);
    front.extend_from_slice(&[0, 0]); // replaces nothing, no flags
    Voice {
        front: std::mem::take(front),
        back: vec![0],
        fate: Text::default(),
        reason: Text::default(),
        deadline: None,
        platform: body.platform.into(),
        event_id: body.event_id.into(),
        seq: record.seq,
        received: record.received,
        first_received: record.received,
        region: placed.region.clone(),
        place: placed.place.clone(),
        claim_occurred: body.occurred,
        occurred: body.occurred,
        precision: body.precision,
    }
}

/// A row of the ledger.
pub fn row(out: &mut Vec<u8>, input: i64, record: &Record, key: &str, body: &Body, found: &Outcome) {
    avro::long(out, input);
    avro::long(out, record.offset);
    for text in [found.disposition, found.reason, &found.rule, key, &found.event_type, &found.milestone] {
        avro::text(out, text);
    }
    avro::long(out, found.revision);
    avro::text(out, body.platform);
    avro::text(out, body.event_id);
    avro::optional_long(out, Some(body.occurred));
    avro::long(out, record.received);
    avro::optional_long(out, found.deadline);
    avro::bytes(out, &record.digest);
}
