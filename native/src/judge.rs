//! What becomes of a plain claim: one whose judgement changes nothing but its own occurrence.
//!
//! Follows `pipeline/governance/kernel.py` step by step, for the claims that most traffic consists of:
//! a platform speaks of an occurrence for the first time, and nothing that was decided before is
//! decided anew. Whatever else a step finds is [`Unusual`], before anything has changed: Python judges.

use crate::avro::{Plainly, Unusual};
use crate::entity::{self, Entity, Occurrence, Plan, PlannedStop, Voice, site_of};
use crate::identity;
use crate::json::is_simple;
use crate::policy::{Authority, Cardinality, Kind, Platform, Policy, Site, Text, authority};
use crate::raw::{self, Body, CLASSIFIERS, PRECISIONS, Stop, WIDTHS_MS};
use crate::{avro, records};

const MINUTE_MS: i64 = 60_000;
const AHEAD_MS_MAX: i64 = 5 * 366 * 86_400_000;

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
    fn clock_of(&self, inputs: &[Text]) -> i64 {
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

/// The next fate of a platform's claim.
struct Fate<'p> {
    /// Which voice; the new one comes last.
    at: usize,
    disposition: &'static str,
    reason: &'static str,
    rule: &'p str,
    deadline: Option<i64>,
}

struct Judgement<'p> {
    owner: Option<(usize, &'p Authority)>,
    fates: Vec<Fate<'p>>,
}

#[derive(Clone)]
struct Place<'p> {
    canonical: Option<Text>,
    site: Option<&'p Site>,
    role: Option<Text>,
}

/// Where a claim belongs.
struct Placed<'p> {
    kind: &'p Kind,
    tag: Text,
    written: String,
    region: Option<Text>,
    place: Option<Text>,
    content: Option<Vec<u8>>,
    clock_ahead: bool,
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
    if placed.kind.sets_plan && !entity.may_plan(found) {
        return Err(Unusual);
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
        outcome.approved = Some(publish(
            setting, entity, at, platform, &placed, body, record, &voices, rule, tolerance_ms,
        ));
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

/// Whether the entity is to be forgotten before anything is said of it.
fn is_silent_for_long(setting: &Setting, entity: &Entity) -> bool {
    let lasts = setting.policy.horizons_ms.get(&entity.tenant).copied().unwrap_or(0);
    let over = entity.active + lasts + setting.policy.forgets_after_ms;
    entity.active != 0 && over <= setting.clock && entity.next_deadline().is_none()
}

// Placement

fn locate<'p>(
    setting: &Setting<'p>,
    entity: &Entity,
    platform: &Platform,
    body: &Body,
    record: &Record,
) -> Plainly<Placed<'p>> {
    let policy = setting.policy;
    let folds = body.stop.iter().chain(&body.stops).flat_map(|stop| {
        [stop.location, stop.city, stop.subdivision, stop.country, stop.name].into_iter().flatten()
    });
    if !folds.into_iter().all(is_simple) {
        return Err(Unusual);
    }
    let mut place = place_of(policy, platform, entity, body, None);
    let (event_type, by_role) = meaning(policy, platform, body, place.role.as_deref())?;
    let said = policy.named(event_type).ok_or(Unusual)?;
    let mut kind = said;
    if body.classifier > 1 {
        if !said.estimate_as.is_empty() {
            kind = policy.named(&said.estimate_as).ok_or(Unusual)?;
        } else if said.rank != 0 && !said.sets_plan {
            return Err(Unusual);
        }
    }
    if kind.entity_type != entity.kind {
        return Err(Unusual);
    }
    let revisits = || entity.plans.iter().any(|plan| plan.stops.iter().any(|item| item.place.contains('#')));
    if place.canonical.is_some() && !kind.stop_roles.is_empty() && !by_role && revisits() {
        place = place_of(policy, platform, entity, body, Some(kind));
    }
    let own = match &body.stop {
        Some(stop) if !kind.by_stop => policy.site_of(platform, &entity.tenant, stop),
        _ => None,
    };
    let place = default_place(policy, platform, entity, body, kind, place);
    let clock_ahead = plausible(setting, entity, platform, kind, body, record)?;
    let tag = discriminator(kind, body, &place)?;
    if is_closed(entity, kind, said, &tag) {
        return Err(Unusual);
    }
    let mut region = policy.region_of(body.stop.as_ref(), place.site);
    if region.is_none() && kind.sets_plan && !body.stops.is_empty() {
        region = policy.region_of(body.stops.first(), place.site);
    }
    authority(policy, entity, kind, region.as_deref(), body.occurred, record.received).ok_or(Unusual)?;
    Ok(Placed {
        kind,
        tag,
        written: written(kind, body, by_role),
        region,
        place: place.canonical,
        content: body.content(own.map(|site| &*site.id)),
        clock_ahead,
    })
}

/// Event type of the native status, and whether the stop's role was asked for.
fn meaning<'p>(
    policy: &'p Policy,
    platform: &Platform,
    body: &Body,
    role: Option<&str>,
) -> Plainly<(&'p str, bool)> {
    let rows = policy.dialects[platform.dialect].get(body.native_status).ok_or(Unusual)?;
    let by_role = rows.iter().any(|row| row.stop_role.is_some());
    let fits = |wanted: &Option<Text>, said: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| said == Some(wanted))
    };
    for row in rows {
        if fits(&row.reason, body.native_reason)
            && fits(&row.qualifier, body.native_qualifier)
            && fits(&row.classifier, Some(CLASSIFIERS[body.classifier]))
        {
            if fits(&row.stop_role, role) {
                return if row.retracts { Err(Unusual) } else { Ok((&row.event_type, by_role)) };
            }
            if role.is_none() {
                return Err(Unusual);
            }
        }
    }
    Err(Unusual)
}

fn place_of<'p>(
    policy: &'p Policy,
    platform: &Platform,
    entity: &Entity,
    body: &Body,
    meant: Option<&Kind>,
) -> Place<'p> {
    let Some(stop) = &body.stop else {
        return Place { canonical: None, site: None, role: None };
    };
    let site = policy.site_of(platform, &entity.tenant, stop);
    let plans = &entity.plans;
    let now = if plans.len() < 2 { 0 } else { in_force(plans, body.occurred) };
    let earlier = (0..plans.len().min(now + 1)).rev();
    for at in earlier.chain(now + 1..plans.len()) {
        if let Some(found) = matching(&plans[at].stops, stop, site, meant) {
            let site = site.or_else(|| policy.site(&entity.tenant, found.site()));
            let role = stop.role.filter(|role| !role.is_empty()).or(found.role.as_deref());
            return Place {
                canonical: Some(found.place.clone()),
                site,
                role: role.map(Text::from),
            };
        }
    }
    Place { canonical: site.map(|site| site.id.clone()), site, role: stop.role.map(Text::from) }
}

fn in_force(plans: &[Plan], occurred: i64) -> usize {
    let minute = occurred.div_euclid(MINUTE_MS);
    plans.iter().rposition(|plan| plan.occurred.div_euclid(MINUTE_MS) <= minute).unwrap_or(0)
}

/// The stop of the list that is meant.
fn matching<'e>(
    planned: &'e [PlannedStop],
    stop: &Stop,
    site: Option<&Site>,
    meant: Option<&Kind>,
) -> Option<&'e PlannedStop> {
    if let Some(site) = site {
        let here = planned.iter().filter(|item| *item.site() == *site.id).collect();
        return visit(here, stop, meant);
    }
    if stop.number.is_some()
        && let Some(found) = planned.iter().find(|item| item.number == stop.number)
    {
        return Some(found);
    }
    let folded = |said: Option<&str>| said.unwrap_or("").trim_matches(' ').to_ascii_uppercase();
    type Said<'s> = fn(&Stop<'s>) -> Option<&'s str>;
    for said in [(|stop| stop.location) as Said, |stop| stop.city] {
        let wanted = folded(said(stop));
        let here: Vec<_> = planned
            .iter()
            .filter(|item| !wanted.is_empty() && folded(said(&item.stop())) == wanted)
            .collect();
        if !here.is_empty() {
            return visit(here, stop, meant);
        }
    }
    None
}

/// Which of the visits to one place is meant: by number or role, else the first that fits.
fn visit<'e>(
    here: Vec<&'e PlannedStop>,
    stop: &Stop,
    meant: Option<&Kind>,
) -> Option<&'e PlannedStop> {
    let named = |item: &&&PlannedStop| match stop.number {
        Some(number) => item.number == Some(number),
        None => stop.role.is_some() && item.role.as_deref() == stop.role,
    };
    let fitting = |item: &&&PlannedStop| meant.is_some_and(|kind| kind.has_role(item.role.as_deref()));
    if here.len() < 2 {
        return here.first().copied();
    }
    here.iter().find(named).or_else(|| here.iter().find(fitting)).or(here.first()).copied()
}

/// Where a claim names no place: the tender's first stop, or the only one the type can mean.
fn default_place<'p>(
    policy: &'p Policy,
    platform: &Platform,
    entity: &Entity,
    body: &Body,
    kind: &Kind,
    place: Place<'p>,
) -> Place<'p> {
    let names = |said: Option<&str>| said.is_some_and(|said| !said.is_empty());
    let silent = body.stop.as_ref().is_none_or(|stop| {
        !names(stop.location) && !names(stop.city) && stop.number.unwrap_or(0) == 0
    });
    if place.canonical.is_some() || !silent {
        return place;
    }
    if kind.sets_plan {
        let first = body.stops.first();
        let site = first.and_then(|stop| policy.site_of(platform, &entity.tenant, stop));
        return Place { canonical: site.map(|site| site.id.clone()), site, role: place.role };
    }
    if kind.stop_roles.is_empty() || entity.plans.is_empty() {
        return place;
    }
    let plan = &entity.plans[in_force(&entity.plans, body.occurred)];
    let mut fitting = plan.stops.iter().filter(|item| kind.has_role(item.role.as_deref()));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Place {
            canonical: Some(only.place.clone()),
            site: policy.site(&entity.tenant, only.site()),
            role: only.role.clone(),
        },
        _ => place,
    }
}

/// Whether its clock runs ahead within the tolerance.
fn plausible(
    setting: &Setting,
    entity: &Entity,
    platform: &Platform,
    kind: &Kind,
    body: &Body,
    record: &Record,
) -> Plainly<bool> {
    let ahead = body.occurred.checked_sub(record.received).ok_or(Unusual)?;
    let horizon = setting.policy.horizons_ms.get(&entity.tenant).copied().ok_or(Unusual)?;
    if body.occurred < platform.earliest_ms
        || ahead > AHEAD_MS_MAX
        || body.occurred < setting.clock.max(record.received) - horizon
    {
        return Err(Unusual);
    }
    if ahead <= 0 || !kind.closed_by.is_empty() || body.classifier > 1 {
        return Ok(false);
    }
    if ahead > platform.clock_tolerance_ms { Err(Unusual) } else { Ok(true) }
}

fn discriminator(kind: &Kind, body: &Body, place: &Place) -> Plainly<Text> {
    let named = |said: Option<&str>| said.filter(|said| !said.is_empty()).map(Text::from).ok_or(Unusual);
    match kind.cardinality {
        Cardinality::Once => Ok(Text::default()),
        Cardinality::Stop => place.canonical.clone().ok_or(Unusual),
        Cardinality::Document => named(body.document),
        Cardinality::Leg => named(body.leg),
        Cardinality::Stream if kind.by_stop => Ok(place.canonical.clone().unwrap_or_default()),
        Cardinality::Stream => Ok(Text::default()),
        Cardinality::Attempt => {
            let place = place.canonical.as_deref().ok_or(Unusual)?;
            Ok(format!("{place}@{}", named(body.attempt)?).into())
        }
    }
}

/// Whether an estimate is of something that has happened.
fn is_closed(entity: &Entity, kind: &Kind, said: &Kind, tag: &str) -> bool {
    let other = kind.name != said.name;
    if other && entity.stands(&said.name, if said.by_stop { tag } else { "" }) {
        return true;
    }
    if !tag.is_empty() {
        return kind.closed_by.iter().any(|closer| entity.stands(closer, tag));
    }
    kind.closed_by.iter().any(|closer| entity.count_of(closer) != 0)
        && !entity.stops().iter().any(|item| {
            kind.has_role(item.role.as_deref())
                && !kind.closed_by.iter().any(|closer| entity.stands(closer, &item.place))
        })
}

/// How a platform names the occurrence, as far as another stop list could read it otherwise.
fn written(kind: &Kind, body: &Body, by_role: bool) -> String {
    if kind.sets_plan {
        let stops = if body.stops.is_empty() { "" } else { "stops" };
        let orders = if body.orders.is_empty() { "" } else { "orders" };
        let place = if body.stop.is_some() { " place" } else { "" };
        return format!("{stops} {orders}{place}");
    }
    if !by_role && !kind.by_stop {
        return String::new();
    }
    let mut parts: Vec<String> = Vec::new();
    let text = |said: Option<&str>| said.unwrap_or("").to_owned();
    if let Some(stop) = &body.stop {
        parts.push(stop.number.map(|number| number.to_string()).unwrap_or_default());
        let named = [stop.role, stop.location, stop.city, stop.subdivision, stop.country];
        parts.extend(named.map(text));
    }
    if by_role {
        parts.push(body.native_status.to_owned());
        parts.extend([body.native_reason, body.native_qualifier].map(text));
    }
    if kind.cardinality != Cardinality::Stream {
        parts.push(body.occurred.div_euclid(MINUTE_MS).to_string());
    }
    parts.join("/")
}

// Authority and conflict

fn voice_of(setting: &Setting, entity: &Entity, placed: &Placed, body: &Body, record: &Record) -> Voice {
    let front = &mut Vec::with_capacity(512);
    body.keep(front);
    raw::kept_text(front, record.topic);
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
        Some(content) => raw::kept_bytes(front, content),
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
        claim_occurred: body.occurred,
        occurred: body.occurred,
        precision: body.precision,
    }
}

/// What stands, and the fate of each claim.
fn decide<'p>(
    setting: &Setting<'p>,
    entity: &Entity,
    occurrence: Option<&Occurrence>,
    kind: &Kind,
    voices: &[Voice],
) -> Plainly<Judgement<'p>> {
    let policy = setting.policy;
    let (mut owners, mut deputies, mut outsiders) = (Vec::new(), Vec::new(), Vec::new());
    for (at, voice) in voices.iter().enumerate() {
        let region = voice.region.as_deref();
        let rule = authority(policy, entity, kind, region, voice.claim_occurred, voice.received)
            .ok_or(Unusual)?;
        if rule.owner == voice.platform {
            owners.push((at, rule));
        } else if rule.deputy(&voice.platform).is_some() {
            deputies.push((at, rule, "differs_from_owner"));
        } else {
            let region = region.filter(|region| !region.is_empty()).or(entity.region.as_deref());
            let rules = policy.authorities(&entity.tenant, &kind.name, region).unwrap_or(&[]);
            let once = rules.iter().any(|rule| rule.owner == voice.platform);
            let reason = if once { "not_owner_at_occurrence" } else { "not_owner" };
            outsiders.push((at, rule, reason));
        }
    }
    let published = occurrence.is_some_and(|occurrence| occurrence.revision > 0);
    let missing = || kind.predecessors.iter().any(|(name, _)| !entity.has_said(name));
    if owners.len() > 1 || (!published && kind.strict && missing()) {
        return Err(Unusual);
    }
    let mut fates = Vec::with_capacity(voices.len());
    let Some((owner, here)) = owners.first().copied() else {
        if occurrence.is_some_and(|occurrence| occurrence.stands) {
            return Err(Unusual);
        }
        for (at, rule, _) in deputies {
            let (_, wait_ms) = rule.deputy(&voices[at].platform).ok_or(Unusual)?;
            let deadline = voices[at].first_received + wait_ms;
            if deadline <= setting.clock_of(&rule.needs) {
                return Err(Unusual);
            }
            let (disposition, reason) = ("held", "awaiting_owner");
            fates.push(Fate { at, disposition, reason, rule: &rule.rule, deadline: Some(deadline) });
        }
        for (at, rule, reason) in outsiders {
            fates.push(Fate { at, disposition: "overruled", reason, rule: &rule.rule, deadline: None });
        }
        return Ok(Judgement { owner: None, fates });
    };
    fates.push(Fate {
        at: owner,
        disposition: "approved",
        reason: "owner_spoke",
        rule: &here.rule,
        deadline: None,
    });
    for (at, rule, otherwise) in deputies.into_iter().chain(outsiders) {
        let (disposition, reason) = if agrees(&voices[at], &voices[owner], rule.tolerance_ms) {
            ("corroborated", "agrees_with_owner")
        } else {
            ("overruled", otherwise)
        };
        fates.push(Fate { at, disposition, reason, rule: &rule.rule, deadline: None });
    }
    Ok(Judgement { owner: Some((owner, here)), fates })
}

/// Whether two platforms say the same, within a tolerance.
pub fn agrees(said: &Voice, winner: &Voice, tolerance_ms: i64) -> bool {
    said.occurred.abs_diff(winner.occurred) <= tolerance_ms.max(0) as u64
        || same_time(said.occurred, said.precision, winner.occurred, winner.precision)
}

fn same_time(a: i64, a_precision: usize, b: i64, b_precision: usize) -> bool {
    let width = WIDTHS_MS[a_precision].max(WIDTHS_MS[b_precision]);
    a.div_euclid(width) == b.div_euclid(width)
}

/// Whether the new claim is published as the first revision; else nothing is.
fn publishes(
    occurrence: Option<&Occurrence>,
    judgement: &Judgement,
    voices: &[Voice],
    own: usize,
) -> Plainly<bool> {
    let Some((owner, _)) = judgement.owner else {
        return Ok(false);
    };
    match occurrence {
        Some(known) if known.stands => {
            let same = known.assurance == entity::AUTHORITATIVE && voices[owner].seq == known.claim_seq;
            if same { Ok(false) } else { Err(Unusual) }
        }
        Some(known) if known.revision > 0 => Err(Unusual),
        _ => if owner == own { Ok(true) } else { Err(Unusual) },
    }
}

fn differs(voice: &Voice, fate: &Fate) -> bool {
    (&*voice.fate, &*voice.reason) != (fate.disposition, fate.reason)
}

/// What becomes of claims that waited.
fn moves(
    judgement: &Judgement,
    voices: &[Voice],
    own: usize,
    event_type: &str,
) -> Plainly<Vec<Transition>> {
    let mut found = Vec::new();
    for fate in judgement.fates.iter().filter(|fate| fate.at != own) {
        let voice = &voices[fate.at];
        let held = &*voice.fate == "held";
        if fate.disposition == "held" && !held && !voice.fate.is_empty() {
            return Err(Unusual);
        }
        if held && differs(voice, fate) {
            found.push(Transition {
                seq: voice.seq,
                before: voice.fate.clone(),
                after: fate.disposition,
                reason: fate.reason,
                rule: fate.rule.into(),
                event_type: event_type.into(),
                milestone: String::new(),
                platform: voice.platform.clone(),
                claim: voice.event_id.clone(),
            });
        } else if voice.fate.is_empty() {
            return Err(Unusual);
        }
    }
    Ok(found)
}

/// Keep the finest time of what stands, to compare with from now on.
fn refine(occurrence: &mut Occurrence, judgement: &Judgement, voices: &[Voice]) {
    let Some((owner, _)) = judgement.owner else {
        return;
    };
    let winner = &voices[owner];
    if occurrence.stands
        && winner.platform == occurrence.platform
        && WIDTHS_MS[winner.precision] < WIDTHS_MS[occurrence.precision]
        && same_time(winner.occurred, winner.precision, occurrence.occurred, occurrence.precision)
    {
        (occurrence.occurred, occurrence.precision) = (winner.occurred, winner.precision);
    }
}

// Publication

/// Whether a first revision changes nothing besides: no alert, and nobody waits for it.
fn may_publish(policy: &Policy, entity: &Entity, placed: &Placed, body: &Body) -> Plainly<()> {
    let kind = placed.kind;
    let cancelled = || {
        entity.standing.iter().any(|(_, other, count)| {
            *count > 0 && policy.kind(*other).is_some_and(|other| other.cancels)
        })
    };
    let contested = || {
        let place = placed.tag.split('@').next().unwrap_or("");
        entity.find(&kind.contests, place).is_some_and(|at| entity.occurrences[at].stands)
    };
    let awaited = entity.occurrences.iter().any(|item| {
        let waiting = policy.kind(item.kind).filter(|other| other.strict && item.revision == 0);
        waiting.is_some_and(|other| other.predecessors.iter().any(|(name, _)| *name == kind.name))
    });
    let plans = kind.sets_plan && !(body.shipments.is_empty() && body.orders.is_empty());
    if kind.cancels
        || (kind.physical && cancelled())
        || (!kind.contests.is_empty() && contested())
        || awaited
        || plans
    {
        return Err(Unusual);
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn publish(
    setting: &Setting,
    entity: &mut Entity,
    at: usize,
    platform: &Platform,
    placed: &Placed,
    body: &Body,
    record: &Record,
    voices: &[Voice],
    rule: &str,
    tolerance_ms: i64,
) -> Vec<u8> {
    let (policy, kind) = (setting.policy, placed.kind);
    let skipped: Vec<&str> = kind
        .predecessors
        .iter()
        .map(|(name, _)| &**name)
        .filter(|name| entity.count_of(name) <= 0)
        .collect();
    let mut flags = Vec::new();
    if kind.rank != 0 && kind.rank < entity.rank {
        flags.push("late");
    }
    if !entity.incomplete.is_empty() {
        flags.push("incomplete");
    }
    if placed.clock_ahead {
        flags.push("clock");
    }
    entity.seq += 1;
    let occurrence = &mut entity.occurrences[at];
    occurrence.revision = 1;
    occurrence.stands = true;
    occurrence.platform = body.platform.into();
    occurrence.assurance = entity::AUTHORITATIVE;
    occurrence.action = entity::ASSERT;
    occurrence.published = body.occurred;
    (occurrence.occurred, occurrence.precision) = (body.occurred, body.precision);
    occurrence.content = placed.content.clone();
    occurrence.claim_seq = record.seq;
    occurrence.claim_id = body.event_id.into();
    occurrence.seq = entity.seq;
    entity.count(&kind.name, policy.kind_at.get(&kind.name).copied(), 1);
    entity.received = entity.received.max(record.received);
    if kind.sets_plan {
        take_plan(policy, entity, platform, placed, body, record);
    }
    let rank = entity.rank;
    (entity.rank, entity.status) = entity.progress(policy);
    let own = voices.last().expect("the new claim is one of them");
    let mut agree: Vec<&str> = Vec::new();
    let mut dissent: Vec<&str> = Vec::new();
    for voice in &voices[..voices.len() - 1] {
        let same = agrees(voice, own, tolerance_ms);
        (if same { &mut agree } else { &mut dissent }).push(&voice.platform);
    }
    agree.sort_unstable();
    dissent.sort_unstable();
    records::approved(&records::Approved {
        setting,
        entity,
        occurrence: &entity.occurrences[at],
        platform,
        region: placed.region.as_deref(),
        place: placed.place.as_deref(),
        body,
        record,
        rule,
        advances: entity.rank > rank,
        skipped,
        agree,
        dissent,
        flags,
    })
}

/// Take stops, start and region from an entity's first plan.
fn take_plan(
    policy: &Policy,
    entity: &mut Entity,
    platform: &Platform,
    placed: &Placed,
    body: &Body,
    record: &Record,
) {
    entity.start = Some(body.occurred);
    entity.region = placed.region.clone().filter(|region| !region.is_empty());
    if body.stops.is_empty() {
        return;
    }
    let mut stops: Vec<PlannedStop> = Vec::with_capacity(body.stops.len());
    for (at, stop) in body.stops.iter().enumerate() {
        let position = at as i32 + 1;
        let site = policy.site_of(platform, &entity.tenant, stop);
        let text = site.map_or_else(
            || {
                let named = [stop.location, stop.city, stop.name].into_iter().flatten();
                let named = named.into_iter().find(|said| !said.is_empty());
                let named = named.map_or_else(|| format!("?{position}"), str::to_owned);
                named.trim_matches(' ').replace('#', "")
            },
            |site| site.id.to_string(),
        );
        let visits = stops.iter().filter(|item| item.site() == site_of(&text)).count();
        let place = if visits == 0 { text } else { format!("{text}#{}", visits + 1) };
        stops.push(PlannedStop {
            number: Some(stop.number.filter(|number| *number != 0).unwrap_or(position)),
            role: stop.role.map(Text::from),
            location: stop.location.map(Text::from),
            name: stop.name.map(Text::from),
            city: stop.city.map(Text::from),
            subdivision: stop.subdivision.map(Text::from),
            country: stop.country.map(Text::from),
            place: place.into(),
        });
    }
    let recorded = body.recorded.filter(|at| *at <= record.received).unwrap_or(record.received);
    let order = (recorded, record.received, body.sequence.unwrap_or(0), body.event_id.into());
    entity.plans.push(Plan { occurred: body.occurred, order, stops, stands: true });
    entity.seal_plans();
}

// Links

/// Whether linked entities may have to be told; what other changes would ask for is unusual.
fn tells(setting: &Setting, entity: &Entity, placed: &Placed) -> Plainly<bool> {
    if setting.policy.link_hops_max <= 0 {
        return Err(Unusual);
    }
    if &*entity.kind == "order" {
        let plans = placed.kind.sets_plan && !entity.linked.is_empty();
        let cancels = entity.standing.iter().any(|(_, kind, count)| {
            *count > 0 && setting.policy.kind(*kind).is_some_and(|kind| kind.cancels)
        });
        let known = entity.linked.iter().all(|item| {
            let told = entity.region.is_none() || item.region.as_deref() == entity.region.as_deref();
            item.ended || (told && item.cancelled.is_none())
        });
        return if plans || !known || (cancels && !entity.linked.is_empty()) {
            Err(Unusual)
        } else {
            Ok(false)
        };
    }
    if &*entity.kind != "shipment" {
        return Ok(false);
    }
    let mut wanted: Vec<&Text> = Vec::new();
    for order in &entity.orders {
        if !wanted.contains(&order) {
            wanted.push(order);
        }
    }
    if wanted.iter().copied().eq(entity.told.iter()) { Ok(true) } else { Err(Unusual) }
}

/// A shipment tells its orders its status, if that has changed.
fn tell(setting: &Setting, entity: &mut Entity, record: &Record, outcome: &mut Outcome) {
    if entity.status == entity.told_status {
        return;
    }
    for at in 0..entity.told.len() {
        entity.link_seq += 1;
        let target = entity.told[at].clone();
        let value = records::link(setting, entity, &target, record.seq);
        outcome.links.push((target, value));
    }
    entity.told_status = entity.status.clone();
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
