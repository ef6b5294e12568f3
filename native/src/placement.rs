//! Where a plain claim belongs: from dialect to event type, stop, discriminator and region.
//!
//! Follows `pipeline/governance/placement.py` and `occurrence.py`.

use crate::avro::{Plainly, Unusual};
use crate::entity::{Entity, Plan, PlannedStop};
use crate::json::is_simple;
use crate::judge::{Record, Setting};
use crate::policy::{Cardinality, Kind, Platform, Policy, Site, Text, authority};
use crate::raw::{Body, CLASSIFIERS, Stop};

const MINUTE_MS: i64 = 60_000;
const AHEAD_MS_MAX: i64 = 5 * 366 * 86_400_000;

#[derive(Clone)]
struct Place<'p> {
    canonical: Option<Text>,
    site: Option<&'p Site>,
    role: Option<Text>,
}

/// Where a claim belongs.
pub struct Placed<'p> {
    pub kind: &'p Kind,
    pub tag: Text,
    pub written: String,
    pub region: Option<Text>,
    pub place: Option<Text>,
    pub content: Option<Vec<u8>>,
    pub clock_ahead: bool,
}

/// Find the place of a claim that comes in.
pub fn locate<'p>(
    setting: &Setting<'p>,
    entity: &Entity,
    platform: &Platform,
    body: &Body,
    record: &Record,
) -> Plainly<Placed<'p>> {
    let mut placed = locate_again(setting.policy, entity, platform, body, record.received)?;
    placed.clock_ahead = plausible(setting, entity, platform, placed.kind, body, record)?;
    Ok(placed)
}

/// Find the place of a claim, however plausible it is.
pub fn locate_again<'p>(
    policy: &'p Policy,
    entity: &Entity,
    platform: &Platform,
    body: &Body,
    received: i64,
) -> Plainly<Placed<'p>> {
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
    let tag = discriminator(kind, body, &place)?;
    if is_closed(entity, kind, said, &tag) {
        return Err(Unusual);
    }
    let mut region = policy.region_of(body.stop.as_ref(), place.site);
    if region.is_none() && kind.sets_plan && !body.stops.is_empty() {
        region = policy.region_of(body.stops.first(), place.site);
    }
    authority(policy, entity, kind, region.as_deref(), body.occurred, received).ok_or(Unusual)?;
    Ok(Placed {
        kind,
        tag,
        written: written(kind, body, by_role),
        region,
        place: place.canonical,
        content: body.content(own.map(|site| &*site.id)),
        clock_ahead: false,
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
            return Place { canonical: Some(found.place.clone()), site, role: role.map(Text::from) };
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
fn visit<'e>(here: Vec<&'e PlannedStop>, stop: &Stop, meant: Option<&Kind>) -> Option<&'e PlannedStop> {
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
    let silent = body
        .stop
        .as_ref()
        .is_none_or(|stop| !names(stop.location) && !names(stop.city) && stop.number.unwrap_or(0) == 0);
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
            Ok(format!("{place}@{}", named(body.attempt)?))
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
