//! The first revision of an occurrence, and what it changes of its entity.
//!
//! Follows `pipeline/governance/settlement.py`, `facts.py` and `links.py`.

use crate::avro::{Plainly, Unusual};
use crate::conflict::agrees;
use crate::entity::{self, Entity, Plan, PlannedStop, Voice, site_of};
use crate::judge::{Outcome, Record, Setting};
use crate::placement::Placed;
use crate::policy::{Platform, Policy, Text};
use crate::raw::Body;
use crate::records;

/// Whether a first revision changes nothing besides: no alert, and nobody waits for it.
pub fn may_publish(policy: &Policy, entity: &Entity, placed: &Placed, body: &Body) -> Plainly<()> {
    let kind = placed.kind;
    let cancelled = || {
        entity
            .standing
            .iter()
            .any(|(_, other, count)| *count > 0 && policy.kind(*other).is_some_and(|other| other.cancels))
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
pub fn publish(
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
    let skipped: Vec<&str> =
        kind.predecessors.iter().map(|(name, _)| &**name).filter(|name| entity.count_of(name) <= 0).collect();
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
        if !entity.plans.is_empty() {
            entity.seal_plans();
        }
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
pub fn take_plan(
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
            place,
        });
    }
    let recorded = body.recorded.filter(|at| *at <= record.received).unwrap_or(record.received);
    let order = (recorded, record.received, body.sequence.unwrap_or(0), body.event_id.into());
    entity.plans.push(Plan { occurred: body.occurred, order, stops, stands: true });
}

/// Whether linked entities may have to be told; what other changes would ask for is unusual.
pub fn tells(setting: &Setting, entity: &Entity, placed: &Placed) -> Plainly<bool> {
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
pub fn tell(setting: &Setting, entity: &mut Entity, record: &Record, outcome: &mut Outcome) {
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
