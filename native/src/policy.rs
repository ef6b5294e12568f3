//! The policy in force, as tables: what `pipeline/governance/policy.py` holds, read once per bundle.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rustc_hash::FxHashMap;

use crate::entity::Entity;
use crate::raw::Stop;

pub type Text = String;
/// Index of an event type in the catalogue.
pub type KindAt = u16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    Once,
    Stop,
    Leg,
    Attempt,
    Document,
    Stream,
}

/// A row of the catalogue.
pub struct Kind {
    pub name: Text,
    pub entity_type: Text,
    pub cardinality: Cardinality,
    pub rank: i64,
    pub status: Text,
    pub partial_rank: i64,
    pub partial_status: Text,
    pub stop_roles: Vec<Text>,
    pub predecessors: Vec<(Text, Option<KindAt>)>,
    pub strict: bool,
    pub physical: bool,
    pub cancels: bool,
    pub contests: Text,
    pub sets_plan: bool,
    pub closed_by: Vec<Text>,
    pub estimate_as: Text,
    pub by_stop: bool,
}

impl Kind {
    pub fn has_role(&self, role: Option<&str>) -> bool {
        role.is_some_and(|role| self.stop_roles.iter().any(|name| **name == *role))
    }
}

/// How a platform speaks.
pub struct Platform {
    pub role: Text,
    pub tenant: Option<Text>,
    pub accounts: FxHashMap<Text, Text>,
    pub topics: Vec<Text>,
    pub dialect: usize,
    pub id_rules: FxHashMap<Text, Vec<Text>>,
    pub clock_tolerance_ms: i64,
    pub earliest_ms: i64,
    pub country: Text,
    pub site_list: Text,
    pub retracts_by_id: bool,
}

/// When a native status means which event type; None matches anything.
pub struct DialectRow {
    pub reason: Option<Text>,
    pub qualifier: Option<Text>,
    pub stop_role: Option<Text>,
    pub classifier: Option<Text>,
    pub event_type: Text,
    pub retracts: bool,
}

pub type Dialect = FxHashMap<Text, Vec<DialectRow>>;

/// A place of the site table.
pub struct Site {
    pub id: Text,
    pub tenant: Option<Text>,
    pub name: Text,
    pub zone: Text,
    pub country: Text,
    pub region: Text,
    pub city: Text,
    pub subdivision: Text,
}

/// One rule of ownership.
pub struct Authority {
    pub rule: Text,
    pub owner: Text,
    /// Platform, rank, silence that it waits out, ms.
    pub deputies: Vec<(Text, i64, i64)>,
    pub tolerance_ms: i64,
    pub from_ms: i64,
    pub until_ms: i64,
    pub by_occurrence: bool,
    pub grace_ms: i64,
    pub needs: Vec<Text>,
    pub late: Option<Box<Authority>>,
}

impl Authority {
    pub fn deputy(&self, platform: &str) -> Option<(i64, i64)> {
        let found = self.deputies.iter().find(|(name, _, _)| **name == *platform)?;
        Some((found.1, found.2))
    }
}

pub struct Policy {
    pub version: Text,
    pub kinds: Vec<Kind>,
    pub kind_at: FxHashMap<Text, KindAt>,
    pub platforms: FxHashMap<Text, Platform>,
    pub dialects: Vec<Dialect>,
    pub sites: FxHashMap<Text, Site>,
    site_codes: FxHashMap<String, Text>,
    site_towns: FxHashMap<String, Text>,
    countries: FxHashMap<Text, Text>,
    pub horizons_ms: FxHashMap<Text, i64>,
    ownership: FxHashMap<String, Vec<Authority>>,
    pub seen_max: usize,
    pub open_claims_max: usize,
    pub forgets_after_ms: i64,
    pub entity_weight_max: i64,
    pub link_hops_max: i64,
    pub brake_window: i64,
    pub brake_ratio: f64,
    pub brake_run: i64,
}

impl Policy {
    /// The tables of a Python policy.
    pub fn read(policy: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut kinds = Vec::new();
        let mut kind_at = FxHashMap::default();
        let catalogue = items(&policy.getattr("catalogue")?)?;
        for (name, _) in &catalogue {
            kind_at.insert(name.extract::<Text>()?, kind_at.len() as KindAt);
        }
        for (_, kind) in &catalogue {
            kinds.push(read_kind(kind, &kind_at)?);
        }
        let mut dialects = Vec::new();
        let mut dialect_at: FxHashMap<Text, usize> = FxHashMap::default();
        for (name, rows) in items(&policy.getattr("dialects")?)? {
            dialect_at.insert(name.extract()?, dialects.len());
            dialects.push(read_dialect(&rows)?);
        }
        dialects.push(Dialect::default());
        let none = dialects.len() - 1;
        let mut platforms = FxHashMap::default();
        for (name, platform) in items(&policy.getattr("platforms")?)? {
            let dialect: Text = platform.getattr("dialect")?.extract()?;
            let at = dialect_at.get(&dialect).copied().unwrap_or(none);
            platforms.insert(name.extract()?, read_platform(&platform, at)?);
        }
        let mut sites = FxHashMap::default();
        for (name, site) in items(&policy.getattr("sites")?)? {
            sites.insert(name.extract()?, read_site(&site)?);
        }
        let mut ownership = FxHashMap::default();
        for (at, rules) in items(&policy.getattr("ownership")?)? {
            let (tenant, kind, region): (String, String, Option<String>) = at.extract()?;
            let rules: Vec<Bound<'_, PyAny>> = rules.extract()?;
            let read = rules.iter().map(read_authority).collect::<PyResult<Vec<_>>>()?;
            ownership.insert(owned(&tenant, &kind, region.as_deref()), read);
        }
        let (limits, brake) = (policy.getattr("limits")?, policy.getattr("brake")?);
        Ok(Policy {
            version: policy.getattr("version")?.extract()?,
            kinds,
            kind_at,
            platforms,
            dialects,
            sites,
            site_codes: joined(&policy.getattr("site_codes")?)?,
            site_towns: joined(&policy.getattr("site_towns")?)?,
            countries: table(&policy.getattr("countries")?)?,
            horizons_ms: table(&policy.getattr("horizons_ms")?)?,
            ownership,
            seen_max: limits.getattr("seen_max")?.extract()?,
            open_claims_max: limits.getattr("open_claims_max")?.extract()?,
            forgets_after_ms: limits.getattr("forgets_after_ms")?.extract()?,
            entity_weight_max: limits.getattr("entity_weight_max")?.extract()?,
            link_hops_max: limits.getattr("link_hops_max")?.extract()?,
            brake_window: brake.getattr("window")?.extract()?,
            brake_ratio: brake.getattr("ratio")?.extract()?,
            brake_run: brake.getattr("run")?.extract()?,
        })
    }

    pub fn kind(&self, at: Option<KindAt>) -> Option<&Kind> {
        self.kinds.get(usize::from(at?))
    }

    pub fn named(&self, name: &str) -> Option<&Kind> {
        self.kind(self.kind_at.get(name).copied())
    }

    pub fn authorities(&self, tenant: &str, kind: &str, region: Option<&str>) -> Option<&[Authority]> {
        let everywhere = self.ownership.get(&owned(tenant, kind, None));
        let found = match (everywhere, region) {
            (None, Some(region)) => self.ownership.get(&owned(tenant, kind, Some(region))),
            _ => everywhere,
        };
        found.map(Vec::as_slice)
    }

    /// A tenant's site that a stop names by code or by town; its texts can be folded.
    pub fn site_of(&self, platform: &Platform, tenant: &str, stop: &Stop) -> Option<&Site> {
        if let Some(code) = stop.location.filter(|code| !code.is_empty()) {
            let folded = code.to_ascii_uppercase();
            for listed in [&*platform.site_list, ""] {
                if let Some(found) = self.site_codes.get(&[tenant, listed, &folded].join("\0")) {
                    return self.sites.get(found);
                }
            }
        }
        let city = stop.city.filter(|city| !city.is_empty())?;
        let country = stop.country.filter(|country| !country.is_empty());
        let town = [
            tenant.to_owned(),
            city.to_ascii_uppercase(),
            stop.subdivision.unwrap_or("").to_ascii_uppercase(),
            country.unwrap_or(&platform.country).to_ascii_uppercase(),
        ];
        self.sites.get(self.site_towns.get(&town.join("\0"))?)
    }

    /// Site with this id, if it is one of the tenant's.
    pub fn site(&self, tenant: &str, id: &str) -> Option<&Site> {
        self.sites.get(id).filter(|site| site.tenant.as_deref().is_none_or(|name| name == tenant))
    }

    /// Region where it happened: the site's, else the country's as the record states it.
    pub fn region_of(&self, stop: Option<&Stop>, site: Option<&Site>) -> Option<Text> {
        if let Some(site) = site {
            return Some(site.region.clone());
        }
        let country = stop?.country.filter(|country| !country.is_empty())?.to_ascii_uppercase();
        Some(self.countries.get(&*country).cloned().unwrap_or(country))
    }
}

/// The rule of ownership that applies to what a platform said; None: no single one does.
///
/// Of plans only the first that is said of an entity is plain: no other tells its region.
pub fn authority<'p>(
    policy: &'p Policy,
    entity: &Entity,
    kind: &Kind,
    region: Option<&str>,
    occurred: i64,
    received: i64,
) -> Option<&'p Authority> {
    let region = match region {
        None if kind.sets_plan => None,
        None => entity.region.as_deref(),
        some => some,
    };
    let rules = policy.authorities(&entity.tenant, &kind.name, region)?;
    let started = if kind.sets_plan { occurred } else { entity.start.unwrap_or(occurred) };
    let mut follows: Option<&Authority> = None;
    for rule in rules.iter().rev() {
        let moment = if rule.by_occurrence { occurred } else { started };
        if rule.from_ms <= moment {
            let Some(next) = follows.filter(|next| next.from_ms == rule.until_ms) else {
                return (moment < rule.until_ms).then_some(rule);
            };
            let late = rule.late.as_deref().filter(|_| received > next.from_ms + next.grace_ms);
            return Some(late.unwrap_or(rule));
        }
        follows = Some(rule);
    }
    None
}

fn owned(tenant: &str, kind: &str, region: Option<&str>) -> String {
    let mut key = String::with_capacity(tenant.len() + kind.len() + 24);
    key.push_str(tenant);
    key.push('\0');
    key.push_str(kind);
    if let Some(region) = region {
        key.push('\0');
        key.push_str(region);
    }
    key
}

type Item<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

fn items<'py>(mapping: &Bound<'py, PyAny>) -> PyResult<Vec<Item<'py>>> {
    let plain = mapping.py().get_type::<PyDict>().call1((mapping,))?;
    Ok(plain.cast_into::<PyDict>()?.iter().collect())
}

fn table<K, V>(mapping: &Bound<'_, PyAny>) -> PyResult<FxHashMap<K, V>>
where
    K: for<'a, 'py> FromPyObject<'a, 'py, Error: Into<PyErr>> + Eq + std::hash::Hash,
    V: for<'a, 'py> FromPyObject<'a, 'py, Error: Into<PyErr>>,
{
    items(mapping)?
        .into_iter()
        .map(|(key, value)| {
            Ok((key.extract::<K>().map_err(Into::into)?, value.extract::<V>().map_err(Into::into)?))
        })
        .collect()
}

/// A table by tuples of texts, by the same texts joined.
fn joined(mapping: &Bound<'_, PyAny>) -> PyResult<FxHashMap<String, Text>> {
    let mut found = FxHashMap::default();
    for (at, value) in items(mapping)? {
        let parts: Vec<String> = at.cast_into::<PyTuple>()?.extract_each()?;
        found.insert(parts.join("\0"), value.extract()?);
    }
    Ok(found)
}

trait ExtractEach {
    fn extract_each(&self) -> PyResult<Vec<String>>;
}

impl ExtractEach for Bound<'_, PyTuple> {
    fn extract_each(&self) -> PyResult<Vec<String>> {
        self.iter().map(|part| part.extract()).collect()
    }
}

fn texts(given: &Bound<'_, PyAny>) -> PyResult<Vec<Text>> {
    given.try_iter()?.map(|item| item?.extract()).collect()
}

fn read_kind(kind: &Bound<'_, PyAny>, at: &FxHashMap<Text, KindAt>) -> PyResult<Kind> {
    let cardinality: String = kind.getattr("cardinality")?.extract()?;
    let cardinality = match cardinality.as_str() {
        "once" => Cardinality::Once,
        "stop" => Cardinality::Stop,
        "leg" => Cardinality::Leg,
        "attempt" => Cardinality::Attempt,
        "document" => Cardinality::Document,
        _ => Cardinality::Stream,
    };
    let predecessors = texts(&kind.getattr("predecessors")?)?;
    Ok(Kind {
        name: kind.getattr("name")?.extract()?,
        entity_type: kind.getattr("entity_type")?.extract()?,
        cardinality,
        rank: kind.getattr("rank")?.extract()?,
        status: kind.getattr("status")?.extract()?,
        partial_rank: kind.getattr("partial_rank")?.extract()?,
        partial_status: kind.getattr("partial_status")?.extract()?,
        stop_roles: texts(&kind.getattr("stop_roles")?)?,
        predecessors: predecessors
            .into_iter()
            .map(|name| {
                let found = at.get(&name).copied();
                (name, found)
            })
            .collect(),
        strict: kind.getattr("strict")?.extract()?,
        physical: kind.getattr("physical")?.extract()?,
        cancels: kind.getattr("cancels")?.extract()?,
        contests: kind.getattr("contests")?.extract()?,
        sets_plan: kind.getattr("sets_plan")?.extract()?,
        closed_by: texts(&kind.getattr("closed_by")?)?,
        estimate_as: kind.getattr("estimate_as")?.extract()?,
        by_stop: kind.getattr("by_stop")?.extract()?,
    })
}

fn read_platform(platform: &Bound<'_, PyAny>, dialect: usize) -> PyResult<Platform> {
    let mut id_rules = FxHashMap::default();
    for (kind, rules) in items(&platform.getattr("id_rules")?)? {
        id_rules.insert(kind.extract()?, texts(&rules)?);
    }
    Ok(Platform {
        role: platform.getattr("role")?.extract()?,
        tenant: platform.getattr("tenant")?.extract()?,
        accounts: table(&platform.getattr("accounts")?)?,
        topics: texts(&platform.getattr("topics")?)?,
        dialect,
        id_rules,
        clock_tolerance_ms: platform.getattr("clock_tolerance_ms")?.extract()?,
        earliest_ms: platform.getattr("earliest_ms")?.extract()?,
        country: platform.getattr("country")?.extract::<Option<Text>>()?.unwrap_or_default(),
        site_list: platform.getattr("site_list")?.extract()?,
        retracts_by_id: platform.getattr("retracts_by_id")?.extract()?,
    })
}

fn read_dialect(rows: &Bound<'_, PyAny>) -> PyResult<Dialect> {
    let mut found = Dialect::default();
    for (status, rows) in items(rows)? {
        let mut read = Vec::new();
        for row in rows.try_iter()? {
            let row = row?;
            read.push(DialectRow {
                reason: row.getattr("reason")?.extract()?,
                qualifier: row.getattr("qualifier")?.extract()?,
                stop_role: row.getattr("stop_role")?.extract()?,
                classifier: row.getattr("classifier")?.extract()?,
                event_type: row.getattr("event_type")?.extract()?,
                retracts: row.getattr("retracts")?.extract()?,
            });
        }
        found.insert(status.extract()?, read);
    }
    Ok(found)
}

fn read_site(site: &Bound<'_, PyAny>) -> PyResult<Site> {
    Ok(Site {
        id: site.getattr("id")?.extract()?,
        tenant: site.getattr("tenant")?.extract()?,
        name: site.getattr("name")?.extract()?,
        zone: site.getattr("zone")?.extract()?,
        country: site.getattr("country")?.extract()?,
        region: site.getattr("region")?.extract()?,
        city: site.getattr("city")?.extract()?,
        subdivision: site.getattr("subdivision")?.extract()?,
    })
}

fn read_authority(rule: &Bound<'_, PyAny>) -> PyResult<Authority> {
    let mut deputies = Vec::new();
    for (name, told) in items(&rule.getattr("deputies")?)? {
        let (rank, wait): (i64, i64) = told.extract()?;
        deputies.push((name.extract()?, rank, wait));
    }
    let late = rule.getattr("late")?;
    Ok(Authority {
        rule: rule.getattr("rule")?.extract()?,
        owner: rule.getattr("owner")?.extract()?,
        deputies,
        tolerance_ms: rule.getattr("tolerance_ms")?.extract()?,
        from_ms: rule.getattr("from_ms")?.extract()?,
        until_ms: rule.getattr("until_ms")?.extract()?,
        by_occurrence: rule.getattr("by_occurrence")?.extract()?,
        grace_ms: rule.getattr("grace_ms")?.extract()?,
        needs: texts(&rule.getattr("needs")?)?,
        late: if late.is_none() { None } else { Some(Box::new(read_authority(&late)?)) },
    })
}
