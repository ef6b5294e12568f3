//! An entity as the plain path knows it: read from state, changed, written back.
//!
//! The bytes are those of `pipeline/streams/entity_bytes.py`. An entity with something that plain
//! claims do not meet (held claims, links told, references bound, a stub …) is left to Python.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::avro::{self, Plainly, Source, Unusual};
use crate::identity;
use crate::json;
use crate::policy::{KindAt, Policy, Text};
use crate::raw::{self, Kept, PRECISIONS, Stop};

const STATE_VERSION: u8 = 4;
/// A deadline and the time of the last activity, before an entity's state.
pub const HEAD_BYTES: usize = 16;
const NONE: i64 = -1;
const ASSURANCES: [&str; 4] = ["", "AUTHORITATIVE", "PROVISIONAL", "UNRECOGNISED"];
const ACTIONS: [&str; 6] = ["", "ASSERT", "CONFIRM", "CORRECT", "RETRACT", "UNRECOGNISED"];
/// What an action's or an assurance's place in its lists above is in their schemas.
pub const ACTION_SYMBOLS: [i64; 6] = [0, 1, 2, 3, 4, 0];
pub const ASSURANCE_SYMBOLS: [i64; 4] = [0, 1, 2, 0];
pub const ASSERT: usize = 1;
pub const AUTHORITATIVE: usize = 1;
/// Of an occurrence that was never published.
const NO_PRECISION: usize = usize::MAX;

/// Order of one platform's statements.
pub type Order = (i64, i64, i64, Text);

/// A stop of a plan, its place resolved.
pub struct PlannedStop {
    pub number: Option<i32>,
    pub role: Option<Text>,
    pub location: Option<Text>,
    pub name: Option<Text>,
    pub city: Option<Text>,
    pub subdivision: Option<Text>,
    pub country: Option<Text>,
    pub place: Text,
}

impl PlannedStop {
    pub fn stop(&self) -> Stop<'_> {
        Stop {
            number: self.number,
            role: self.role.as_deref(),
            location: self.location.as_deref(),
            name: self.name.as_deref(),
            city: self.city.as_deref(),
            subdivision: self.subdivision.as_deref(),
            country: self.country.as_deref(),
        }
    }

    pub fn site(&self) -> &str {
        site_of(&self.place)
    }
}

/// A place without the number of its visit.
pub fn site_of(place: &str) -> &str {
    place.split('#').next().unwrap_or("")
}

/// A stop list, and when the shipment was ordered so.
pub struct Plan {
    pub occurred: i64,
    pub order: Order,
    pub stops: Vec<PlannedStop>,
    pub stands: bool,
}

/// Another name of the entity.
#[derive(Deserialize)]
pub struct Reference {
    pub kind: String,
    pub scope: String,
    pub value: String,
}

/// What a linked entity told last, and what it has been told.
pub struct Linked {
    pub key: String,
    pub status: String,
    pub ended: bool,
    pub region: Option<String>,
    pub cancelled: Option<i64>,
}

/// What can be disagreed about, and what stands of it.
pub struct Occurrence {
    /// As state writes it; the claims begin at `claims_at`.
    written: Vec<u8>,
    claims_at: usize,
    pub event_type: Text,
    pub kind: Option<KindAt>,
    pub discriminator: Text,
    pub id: [u8; 16],
    pub revision: i64,
    pub stands: bool,
    pub platform: Text,
    pub assurance: usize,
    pub action: usize,
    pub occurred: i64,
    pub precision: usize,
    pub published: i64,
    pub content: Option<Vec<u8>>,
    pub claim_seq: i64,
    pub claim_id: Text,
    pub seq: i64,
    pub weight: i64,
    /// How many of its claims wait, and the first deadline of these.
    pub waiting: usize,
    pub deadline: Option<i64>,
}

/// What a platform says of an occurrence, and its fate.
pub struct Voice {
    /// Bytes up to its fate, and behind its deadline.
    pub front: Vec<u8>,
    pub back: Vec<u8>,
    pub fate: Text,
    pub reason: Text,
    pub deadline: Option<i64>,
    pub platform: Text,
    pub event_id: Text,
    pub seq: i64,
    pub received: i64,
    pub first_received: i64,
    pub region: Option<Text>,
    pub place: Option<Text>,
    /// When the record says it happened, and what is taken for it.
    pub claim_occurred: i64,
    pub occurred: i64,
    pub precision: usize,
}

impl Occurrence {
    pub fn new(event_type: &str, kind: KindAt, discriminator: &str, id: [u8; 16]) -> Self {
        Occurrence {
            written: Vec::new(),
            claims_at: 0,
            event_type: event_type.into(),
            kind: Some(kind),
            discriminator: discriminator.into(),
            id,
            revision: 0,
            stands: false,
            platform: Text::default(),
            assurance: 0,
            action: 0,
            occurred: 0,
            precision: NO_PRECISION,
            published: 0,
            content: None,
            claim_seq: -1,
            claim_id: Text::default(),
            seq: 0,
            weight: 0,
            waiting: 0,
            deadline: None,
        }
    }

    fn read(policy: &Policy, written: &[u8]) -> Plainly<Self> {
        let source = &mut Source::new(written, 0);
        let event_type: Text = raw::said(source)?.into();
        let discriminator = raw::said(source)?.into();
        let id = source.take(16)?.try_into().map_err(|_| Unusual)?;
        let revision = source.long()?;
        let stands = source.long()? != 0;
        let platform = raw::said(source)?.into();
        let assurance = place(&ASSURANCES, &raw::said(source)?)?;
        let action = place(&ACTIONS, &raw::said(source)?)?;
        let occurred = source.long()?;
        let precision = match &*raw::said(source)? {
            "" => NO_PRECISION,
            said => place(&PRECISIONS, said)?,
        };
        let published = source.long()?;
        let content = raw::kept_content(source)?.map(<[u8]>::to_vec);
        let claim_seq = source.long()?;
        let claim_id = raw::said(source)?.into();
        let seq = source.long()?;
        let weight = source.long()?;
        let waits = source.long()? != 0;
        let mut occurrence = Occurrence {
            written: written.to_vec(),
            claims_at: source.at,
            kind: policy.kind_at.get(&event_type).copied(),
            event_type,
            discriminator,
            id,
            revision,
            stands,
            platform,
            assurance,
            action,
            occurred,
            precision,
            published,
            content,
            claim_seq,
            claim_id,
            seq,
            weight,
            waiting: 0,
            deadline: None,
        };
        if waits {
            let voices = occurrence.voices()?;
            occurrence.wait(&voices);
        }
        Ok(occurrence)
    }

    fn wait(&mut self, voices: &[Voice]) {
        let deadlines = voices.iter().filter_map(|voice| voice.deadline);
        self.waiting = deadlines.clone().count();
        self.deadline = deadlines.min();
    }

    /// Write what the occurrence says, and its claims, anew.
    pub fn seal(&mut self, voices: &[Voice]) {
        let mut out = Vec::with_capacity(self.written.len().max(256) + 256);
        raw::kept_text(&mut out, &self.event_type);
        raw::kept_text(&mut out, &self.discriminator);
        out.extend_from_slice(&self.id);
        avro::long(&mut out, self.revision);
        out.push(u8::from(self.stands));
        raw::kept_text(&mut out, &self.platform);
        raw::kept_text(&mut out, ASSURANCES[self.assurance]);
        raw::kept_text(&mut out, ACTIONS[self.action]);
        avro::long(&mut out, self.occurred);
        raw::kept_text(&mut out, PRECISIONS.get(self.precision).copied().unwrap_or(""));
        avro::long(&mut out, self.published);
        match &self.content {
            None => out.push(0),
            Some(content) => out.extend_from_slice(content),
        }
        avro::long(&mut out, self.claim_seq);
        raw::kept_text(&mut out, &self.claim_id);
        avro::long(&mut out, self.seq);
        avro::long(&mut out, self.weight);
        self.wait(voices);
        out.push(if self.waiting > 0 { 2 } else { 0 });
        self.claims_at = out.len();
        avro::long(&mut out, voices.len() as i64);
        for voice in voices {
            voice.write(&mut out);
        }
        self.written = out;
    }

    /// The claims, in the order in which platforms first spoke; each platform has one.
    pub fn voices(&self) -> Plainly<Vec<Voice>> {
        if self.written.is_empty() {
            return Ok(Vec::new());
        }
        let source = &mut Source::new(&self.written, self.claims_at);
        let count = source.long()?;
        let mut voices: Vec<Voice> = Vec::with_capacity(count as usize + 1);
        for _ in 0..count {
            let voice = Voice::read(source)?;
            if voices.iter().any(|other| other.platform == voice.platform) {
                return Err(Unusual);
            }
            voices.push(voice);
        }
        Ok(voices)
    }

    /// Whether what stands says that more is to come.
    fn is_partial(&self) -> bool {
        self.content.as_ref().is_some_and(|content| raw::is_partial(content))
    }
}

fn place(names: &[&str], said: &str) -> Plainly<usize> {
    names.iter().position(|name| *name == said).ok_or(Unusual)
}

impl Voice {
    fn read(source: &mut Source) -> Plainly<Self> {
        let begin = source.at;
        let body = Kept::read(source)?;
        if body.retracts {
            return Err(Unusual);
        }
        raw::skip(source)?; // topic
        source.long()?;
        source.long()?;
        let received = source.long()?;
        let seq = source.long()?;
        source.bytes()?; // digest
        raw::skip(source)?; // tenant
        raw::skip(source)?; // repaired by
        source.long()?;
        source.long()?;
        if source.byte()? != 0 {
            return Err(Unusual); // the record as it came
        }
        if source.byte()? != 255 {
            return Err(Unusual); // speaks of another record
        }
        raw::skip(source)?; // written
        let region = raw::kept(source)?.map(Text::from);
        let here = raw::kept(source)?.map(Text::from);
        raw::kept_content(source)?;
        let first_received = received + source.long()?;
        read_order(source)?; // order
        read_order(source)?; // barrier
        if read_order(source)?.is_some() {
            return Err(Unusual); // order of what it takes back
        }
        let occurred = source.long()?;
        let precision = place(&PRECISIONS, &raw::said(source)?)?;
        for _ in 0..source.long()? {
            raw::skip(source)?; // replaces
        }
        if source.long()? & 2 != 0 {
            return Err(Unusual); // takes something back
        }
        let middle = source.at;
        let fate = raw::said(source)?.into();
        let reason = raw::said(source)?.into();
        let deadline = raw::number(source)?;
        let end = source.at;
        for _ in 0..source.long()? {
            raw::skip(source)?; // restated
            read_order(source)?;
        }
        Ok(Voice {
            front: source.data[begin..middle].to_vec(),
            back: source.data[end..source.at].to_vec(),
            fate,
            reason,
            deadline,
            platform: body.platform.into(),
            event_id: body.event_id.into(),
            seq,
            received,
            first_received,
            region,
            place: here,
            claim_occurred: body.occurred,
            occurred,
            precision,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.front);
        raw::kept_text(out, &self.fate);
        raw::kept_text(out, &self.reason);
        raw::kept_number(out, self.deadline);
        out.extend_from_slice(&self.back);
    }
}

fn read_order(source: &mut Source) -> Plainly<Option<Order>> {
    if source.long()? == 0 {
        return Ok(None);
    }
    Ok(Some((source.long()?, source.long()?, source.long()?, raw::said(source)?.into())))
}

/// One order, shipment or stock item.
pub struct Entity {
    pub key: Text,
    pub tenant: Text,
    pub kind: Text,
    pub id: Text,
    pub active: i64,
    pub generation: i64,
    pub seq: i64,
    pub rank: i64,
    pub received: i64,
    pub link_seq: i64,
    pub status: Text,
    pub told_status: Text,
    pub region: Option<Text>,
    pub start: Option<i64>,
    pub orders: Vec<Text>,
    pub told: Vec<Text>,
    /// Marks of the records taken last, eight bytes each, the oldest first.
    pub seen: Vec<u8>,
    /// The rare parts as state writes them.
    rare: Option<Vec<u8>>,
    pub plans: Vec<Plan>,
    pub linked: Vec<Linked>,
    pub references: Vec<Reference>,
    /// Origins of undecodable records that carried this entity's key.
    pub incomplete: Vec<String>,
    pub occurrences: Vec<Occurrence>,
    /// How many occurrences of each event type stand, in the order in which the first one did.
    pub standing: Vec<(Text, Option<KindAt>, i64)>,
    /// Its next deadline as it is stored.
    pub deadline: Option<i64>,
}

/// When a plan is of, its order, its stops and whether it stands.
type PlanRow = (i64, Order, Vec<(StopRow, String)>, bool);
type LinkedRow = (i64, String, bool, Option<String>, Option<i64>);

/// `entity_codec.dump_rare`.
#[derive(Deserialize)]
struct Rare(
    Map<String, Value>,
    Vec<PlanRow>,
    Map<String, Value>,
    Vec<Reference>,
    Vec<String>,
    Vec<IgnoredAny>,
    Vec<IgnoredAny>,
    Map<String, Value>,
    Vec<IgnoredAny>,
    Map<String, Value>,
    Map<String, Value>,
    Map<String, Value>,
    Map<String, Value>,
    Map<String, Value>,
);

#[derive(Deserialize)]
struct StopRow {
    number: Option<i32>,
    role: Option<Text>,
    location: Option<Text>,
    name: Option<Text>,
    city: Option<Text>,
    subdivision: Option<Text>,
    country: Option<Text>,
}

impl Entity {
    pub fn new(key: &str) -> Plainly<Self> {
        let mut parts = key.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(Unusual);
        let (tenant, kind, id) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(Unusual);
        }
        Ok(Entity {
            key: key.into(),
            tenant: identity::unquoted(tenant),
            kind: identity::unquoted(kind),
            id: identity::unquoted(id),
            active: 0,
            generation: 1,
            seq: 0,
            rank: 0,
            received: 0,
            link_seq: 0,
            status: Text::default(),
            told_status: Text::default(),
            region: None,
            start: None,
            orders: Vec::new(),
            told: Vec::new(),
            seen: Vec::new(),
            rare: None,
            plans: Vec::new(),
            linked: Vec::new(),
            references: Vec::new(),
            incomplete: Vec::new(),
            occurrences: Vec::new(),
            standing: Vec::new(),
            deadline: None,
        })
    }

    /// The entity that state holds.
    pub fn read(policy: &Policy, key: &str, stored: &[u8]) -> Plainly<Self> {
        if *stored.get(HEAD_BYTES).ok_or(Unusual)? != STATE_VERSION {
            return Err(Unusual);
        }
        let (deadline, active) = read_head(stored);
        let source = &mut Source::new(stored, HEAD_BYTES + 1);
        let mut entity = Entity::new(key)?;
        entity.deadline = deadline;
        entity.generation = source.long()?;
        entity.seq = source.long()?;
        entity.rank = source.long()?;
        entity.received = source.long()?;
        entity.link_seq = source.long()?;
        if source.long()? != 0 {
            return Err(Unusual); // a stub
        }
        entity.status = raw::said(source)?.into();
        entity.told_status = raw::said(source)?.into();
        entity.region = raw::kept(source)?.map(Text::from);
        entity.start = raw::number(source)?;
        entity.orders = read_list(source)?;
        entity.told = read_list(source)?;
        entity.seen = source.bytes()?.to_vec();
        if let Some(rare) = raw::kept(source)? {
            entity.read_rare(&rare)?;
        }
        for _ in 0..source.long()? {
            let occurrence = Occurrence::read(policy, source.bytes()?)?;
            if occurrence.stands {
                entity.count(&occurrence.event_type, occurrence.kind, 1);
            }
            entity.occurrences.push(occurrence);
        }
        entity.active = if active == 0 { entity.received } else { active };
        Ok(entity)
    }

    fn read_rare(&mut self, written: &str) -> Plainly<()> {
        let rare: Rare = serde_json::from_str(written).map_err(|_| Unusual)?;
        let maps = [&rare.0, &rare.7, &rare.9, &rare.10, &rare.11, &rare.12, &rare.13];
        let lists = [&rare.5, &rare.6, &rare.8];
        let unknown = maps.iter().any(|map| !map.is_empty()) || lists.iter().any(|list| !list.is_empty());
        if unknown {
            return Err(Unusual);
        }
        for (occurred, (made, received, sequence, event_id), stops, stands) in rare.1 {
            let stops = stops
                .into_iter()
                .map(|(stop, place)| PlannedStop {
                    number: stop.number,
                    role: stop.role,
                    location: stop.location,
                    name: stop.name,
                    city: stop.city,
                    subdivision: stop.subdivision,
                    country: stop.country,
                    place,
                })
                .collect();
            let order = (made, received, sequence, event_id);
            self.plans.push(Plan { occurred, order, stops, stands });
        }
        for (key, row) in rare.2 {
            let (_, status, ended, region, cancelled): LinkedRow =
                serde_json::from_value(row).map_err(|_| Unusual)?;
            self.linked.push(Linked { key, status, ended, region, cancelled });
        }
        self.references = rare.3;
        self.incomplete = rare.4;
        self.rare = Some(written.as_bytes().to_vec());
        Ok(())
    }

    /// The entity's stored value.
    pub fn write(&mut self) -> Vec<u8> {
        self.deadline = self.next_deadline();
        let size: usize = self.occurrences.iter().map(|item| item.written.len() + 3).sum();
        let mut out = Vec::with_capacity(size + self.seen.len() + 600);
        out.extend_from_slice(&self.deadline.unwrap_or(NONE).to_be_bytes());
        out.extend_from_slice(&self.active.to_be_bytes());
        out.push(STATE_VERSION);
        avro::long(&mut out, self.generation);
        avro::long(&mut out, self.seq);
        avro::long(&mut out, self.rank);
        avro::long(&mut out, self.received);
        avro::long(&mut out, self.link_seq);
        out.push(0);
        raw::kept_text(&mut out, &self.status);
        raw::kept_text(&mut out, &self.told_status);
        raw::kept_optional(&mut out, self.region.as_deref());
        raw::kept_number(&mut out, self.start);
        for names in [&self.orders, &self.told] {
            avro::long(&mut out, names.len() as i64);
            names.iter().for_each(|name| raw::kept_text(&mut out, name));
        }
        avro::bytes(&mut out, &self.seen);
        match &self.rare {
            None => out.push(0),
            Some(rare) => raw::kept_bytes(&mut out, rare),
        }
        avro::long(&mut out, self.occurrences.len() as i64);
        for occurrence in &self.occurrences {
            avro::bytes(&mut out, &occurrence.written);
        }
        out
    }

    /// Write the rare parts anew, after a first plan; see `may_plan`.
    pub fn seal_plans(&mut self) {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"[{},");
        json::list(&mut out, &self.plans, |out, plan| {
            out.push(b'[');
            json::number(out, plan.occurred);
            out.extend_from_slice(b",[");
            for part in [plan.order.0, plan.order.1, plan.order.2] {
                json::number(out, part);
                out.push(b',');
            }
            json::text(out, &plan.order.3);
            out.extend_from_slice(b"],");
            json::list(out, &plan.stops, |out, planned| {
                out.push(b'[');
                planned.stop().json(out);
                out.push(b',');
                json::text(out, &planned.place);
                out.push(b']');
            });
            out.extend_from_slice(if plan.stands { b",true]" } else { b",false]" });
        });
        out.extend_from_slice(b",{},[],");
        json::list(&mut out, &self.incomplete, |out, origin| json::text(out, origin));
        out.extend_from_slice(b",[],[],{},[],{},{},{},{},{}]");
        self.rare = Some(out);
    }

    /// Whether a plan, an occurrence that nothing stands of yet, is the first thing that is said.
    pub fn is_fresh(&self, found: Option<usize>) -> bool {
        match (found, self.occurrences.as_slice()) {
            (None, []) => true,
            (Some(_), [only]) => only.revision == 0,
            _ => false,
        }
    }

    /// Whether no plan has been said yet, and nothing by others that a plan would change.
    pub fn may_plan(&self) -> bool {
        self.plans.is_empty()
            && self.linked.is_empty()
            && self.references.is_empty()
            && self.orders.is_empty()
            && self.told.is_empty()
    }

    pub fn next_deadline(&self) -> Option<i64> {
        self.occurrences.iter().filter_map(|item| item.deadline).min()
    }

    pub fn open_claims(&self) -> usize {
        self.occurrences.iter().map(|item| item.waiting).sum()
    }

    pub fn find(&self, event_type: &str, discriminator: &str) -> Option<usize> {
        self.occurrences
            .iter()
            .position(|item| *item.discriminator == *discriminator && *item.event_type == *event_type)
    }

    pub fn stands(&self, event_type: &str, discriminator: &str) -> bool {
        self.find(event_type, discriminator).is_some_and(|at| self.occurrences[at].stands)
    }

    pub fn count_of(&self, event_type: &str) -> i64 {
        let found = self.standing.iter().find(|(name, _, _)| **name == *event_type);
        found.map_or(0, |(_, _, count)| *count)
    }

    pub fn count(&mut self, event_type: &str, kind: Option<KindAt>, by: i64) {
        match self.standing.iter_mut().find(|(name, _, _)| **name == *event_type) {
            Some((_, _, count)) => *count += by,
            None => self.standing.push((event_type.into(), kind, by)),
        }
    }

    /// Whether something of an event type was published.
    pub fn has_said(&self, event_type: &str) -> bool {
        self.occurrences.iter().any(|item| item.revision > 0 && *item.event_type == *event_type)
    }

    /// The stop list that stands.
    pub fn stops(&self) -> &[PlannedStop] {
        self.plans.iter().rev().find(|plan| plan.stands).map_or(&[], |plan| &plan.stops)
    }

    /// Rank and status of the furthest standing milestone.
    pub fn progress(&self, policy: &Policy) -> (i64, Text) {
        let (mut best, mut status) = (0, "");
        for (_, kind, count) in &self.standing {
            let Some(kind) = policy.kind(*kind).filter(|kind| *count > 0 && kind.rank != 0) else {
                continue;
            };
            let (mut rank, mut named) = (kind.rank, &kind.status);
            if kind.partial_rank != 0 && !self.is_complete(kind) {
                (rank, named) = (kind.partial_rank, &kind.partial_status);
            }
            if rank > best {
                (best, status) = (rank, named);
            }
        }
        (best, status.into())
    }

    fn is_complete(&self, kind: &crate::policy::Kind) -> bool {
        if !kind.by_stop {
            return self
                .occurrences
                .iter()
                .any(|item| item.stands && item.event_type == kind.name && !item.is_partial());
        }
        self.stops().iter().filter(|item| kind.has_role(item.role.as_deref())).all(|item| {
            self.find(&kind.name, &item.place)
                .is_some_and(|at| self.occurrences[at].stands && !self.occurrences[at].is_partial())
        })
    }

    pub fn has_seen(&self, mark: &[u8]) -> bool {
        self.seen.chunks_exact(8).any(|known| known == mark)
    }

    pub fn remember(&mut self, mark: &[u8], most: usize) {
        self.seen.extend_from_slice(mark);
        if self.seen.len() > 8 * most {
            self.seen.drain(..8);
        }
    }
}

/// The stored deadline and the time of the last activity; below 0: of a stub.
pub fn read_head(stored: &[u8]) -> (Option<i64>, i64) {
    let number = |at: usize| {
        stored.get(at..at + 8).map_or(0, |bytes| i64::from_be_bytes(bytes.try_into().expect("eight")))
    };
    (Some(number(0)).filter(|deadline| *deadline != NONE), number(8))
}

fn read_list(source: &mut Source) -> Plainly<Vec<Text>> {
    let count = source.long()?;
    (0..count).map(|_| raw::said(source).map(Text::from)).collect()
}
