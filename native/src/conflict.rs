//! What stands of an occurrence once a plain claim has been heard, and what becomes of each claim.
//!
//! Follows `pipeline/governance/standing.py` and `settlement.py`.

use crate::avro::{Plainly, Unusual};
use crate::entity::{self, Entity, Occurrence, Voice};
use crate::judge::{Setting, Transition};
use crate::policy::{Authority, Kind, authority};
use crate::raw::WIDTHS_MS;

/// The next fate of a platform's claim.
pub struct Fate<'p> {
    /// Which voice; the new one comes last.
    pub at: usize,
    pub disposition: &'static str,
    pub reason: &'static str,
    pub rule: &'p str,
    pub deadline: Option<i64>,
}

pub struct Judgement<'p> {
    pub owner: Option<(usize, &'p Authority)>,
    pub fates: Vec<Fate<'p>>,
}

/// What stands, and the fate of each claim.
pub fn decide<'p>(
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
        let rule =
            authority(policy, entity, kind, region, voice.claim_occurred, voice.received).ok_or(Unusual)?;
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
pub fn publishes(
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
        _ => {
            if owner == own {
                Ok(true)
            } else {
                Err(Unusual)
            }
        }
    }
}

pub fn differs(voice: &Voice, fate: &Fate) -> bool {
    (&*voice.fate, &*voice.reason) != (fate.disposition, fate.reason)
}

/// What becomes of claims that waited.
pub fn moves(
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
pub fn refine(occurrence: &mut Occurrence, judgement: &Judgement, voices: &[Voice]) {
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
