//! A raw event: read from a record in the committed schema, kept in state, weighed.
//!
//! Shapes: `schemas/raw-event.avsc`; `pipeline/streams/entity_bytes.py` for what state keeps of it.

use std::borrow::Cow;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::avro::{self, Plainly, Source, Unusual};
use crate::identity;
use crate::json;

/// Texts that state has often, by their place, as `entity_values.WORDS` lists them.
#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "ACTUAL", "SECOND", "AUTHORITATIVE", "ASSERT", "approved", "owner_spoke", "MINUTE", "MILLISECOND",
    "DAY", "ESTIMATED", "PLANNED", "REQUESTED", "UNRECOGNISED", "PROVISIONAL", "CONFIRM", "CORRECT",
    "RETRACT", "overruled", "agrees_with_owner", "differs_from_owner", "not_owner", "held",
    "awaiting_owner", "corroborated", "provisional", "owner_silent", "confirmed", "corrected", "retracted",
    "owner_corrected", "stale", "PICKUP", "TRANSIT", "DELIVERY", "EA", "DELTA", "CUMULATIVE", "PARTIAL",
    "COMPLETE", "order.released", "order.changed", "order.cancelled", "pick.confirmed", "pack.confirmed",
    "shipment.tendered", "carrier.accepted", "pickup.arrived", "goods.issued", "departed",
    "in_transit.arrived", "in_transit.departed", "delivery.arrived", "delivered", "pod.received",
    "eta.updated", "shipped", "in_transit", "at_delivery", "at_pickup", "released", "picked", "packed",
    "accepted", "tendered", "goods_issued", "estimate_updated", "region_unresolved", "stop_unresolved",
    "awaiting_predecessor", "uncorrelated", "shipment.cancelled", "carrier.declined", "partially_delivered",
    "picking", "NA", "EU", "charge.posted", "delivery.promised", "delivery.refused", "exception.raised",
    "exception.resolved", "inventory.confirmed", "inventory.moved", "invoice.approved", "position.reported",
    "shipment.changed",
];
static PLACES: LazyLock<FxHashMap<&str, i64>> =
    LazyLock::new(|| WORDS.iter().enumerate().map(|(place, word)| (*word, -2 - place as i64)).collect());
const UUID: i64 = -1;
const PACKED_STOP: u8 = 192;
const PACKED_QUANTITY: u8 = 193;
const PACKED_STOPS: u8 = 194;

pub const CLASSIFIERS: [&str; 5] = ["UNRECOGNISED", "ACTUAL", "ESTIMATED", "PLANNED", "REQUESTED"];
pub const PRECISIONS: [&str; 5] = ["UNRECOGNISED", "DAY", "MINUTE", "SECOND", "MILLISECOND"];
pub const WIDTHS_MS: [i64; 5] = [1, 86_400_000, 60_000, 1_000, 1];
const BASES: [&str; 3] = ["UNRECOGNISED", "DELTA", "CUMULATIVE"];
pub const COMPLETENESS: [&str; 3] = ["UNRECOGNISED", "PARTIAL", "COMPLETE"];

const ID_CHARACTERS_MAX: usize = 200;
const REMARK_CHARACTERS_MAX: usize = 1_000;
const LISTED_MAX: usize = 500;
const OFFSET_MINUTES_MAX: u32 = 18 * 60;
const BASE_BYTES: i64 = 400;
const STOP_BYTES: i64 = 400;
const FORMS: i64 = 3;

/// A place as a platform writes it.
#[derive(Clone, Copy, Default)]
pub struct Stop<'a> {
    pub number: Option<i32>,
    pub role: Option<&'a str>,
    pub location: Option<&'a str>,
    pub name: Option<&'a str>,
    pub city: Option<&'a str>,
    pub subdivision: Option<&'a str>,
    pub country: Option<&'a str>,
}

impl<'a> Stop<'a> {
    fn read(source: &mut Source<'a>) -> Plainly<Self> {
        Ok(Stop {
            number: source.optional_int()?,
            role: source.optional_text()?,
            location: source.optional_text()?,
            name: source.optional_text()?,
            city: source.optional_text()?,
            subdivision: source.optional_text()?,
            country: source.optional_text()?,
        })
    }

    pub fn texts(&self) -> [(&'static str, Option<&'a str>); 6] {
        [
            ("role", self.role),
            ("location", self.location),
            ("name", self.name),
            ("city", self.city),
            ("subdivision", self.subdivision),
            ("country", self.country),
        ]
    }

    /// Which fields it has, one bit each, and these.
    fn keep(&self, out: &mut Vec<u8>) {
        let texts = self.texts();
        let mut mask = u8::from(self.number.is_some());
        for (place, (_, said)) in texts.iter().enumerate() {
            mask |= u8::from(said.is_some()) << (place + 1);
        }
        out.push(mask);
        if let Some(number) = self.number {
            avro::long(out, i64::from(number));
        }
        texts.into_iter().filter_map(|(_, said)| said).for_each(|said| kept_text(out, said));
    }

    /// JSON of what it says.
    pub fn json(&self, out: &mut Vec<u8>) {
        let mut first = true;
        out.push(b'{');
        if let Some(number) = self.number {
            json::name(out, "number", &mut first);
            json::number(out, i64::from(number));
        }
        for (name, said) in self.texts() {
            if said.is_some() {
                json::name(out, name, &mut first);
                json::optional(out, said);
            }
        }
        out.push(b'}');
    }
}

#[derive(Clone, Copy)]
pub struct Quantity<'a> {
    /// In units of 1/1,000,000.
    pub value: i64,
    pub unit: &'a str,
    pub basis: usize,
    pub completeness: usize,
}

impl Quantity<'_> {
    fn keep(&self, out: &mut Vec<u8>) {
        avro::long(out, self.value);
        kept_text(out, self.unit);
        kept_text(out, BASES[self.basis]);
        kept_text(out, COMPLETENESS[self.completeness]);
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        avro::decimal(out, self.value);
        avro::text(out, self.unit);
        avro::long(out, self.basis as i64);
        avro::long(out, self.completeness as i64);
    }
}

/// A raw event without references; its texts are printable, and its values within the bounds.
pub struct Body<'a> {
    pub event_id: &'a str,
    pub platform: &'a str,
    pub account: Option<&'a str>,
    pub entity_type: Option<&'a str>,
    pub entity_id: &'a str,
    pub native_status: &'a str,
    pub native_reason: Option<&'a str>,
    pub native_qualifier: Option<&'a str>,
    pub classifier: usize,
    pub occurred: i64,
    pub precision: usize,
    pub offset_minutes: Option<i32>,
    pub recorded: Option<i64>,
    pub sequence: Option<i64>,
    pub stop: Option<Stop<'a>>,
    pub leg: Option<&'a str>,
    pub attempt: Option<&'a str>,
    pub document: Option<&'a str>,
    pub warehouse_task: Option<&'a str>,
    pub quantity: Option<Quantity<'a>>,
    /// In units of 1/10,000.
    pub amount: Option<i64>,
    pub currency: Option<&'a str>,
    pub orders: Vec<&'a str>,
    pub stops: Vec<Stop<'a>>,
    pub shipments: Vec<&'a str>,
    pub stated_by: Option<&'a str>,
    pub remark: Option<&'a str>,
}

impl<'a> Body<'a> {
    /// The event in a framed value.
    pub fn read(value: &'a [u8]) -> Plainly<Self> {
        let source = &mut Source::new(value, 5);
        let event_id = source.text()?;
        let platform = source.text()?;
        let account = source.optional_text()?;
        let entity_type = source.optional_text()?;
        let entity_id = source.optional_text()?.filter(|text| !text.is_empty()).ok_or(Unusual)?;
        if source.some()? {
            return Err(Unusual); // a reference
        }
        let native_status = source.text()?;
        let native_reason = source.optional_text()?;
        let native_qualifier = source.optional_text()?;
        let classifier = source.symbol(CLASSIFIERS.len())?;
        let occurred = source.long()?;
        let precision = source.symbol(PRECISIONS.len())?;
        let offset_minutes = source.optional_int()?;
        let recorded = source.optional_long()?;
        let sequence = source.optional_long()?;
        let stop = if source.some()? { Some(Stop::read(source)?) } else { None };
        let leg = source.optional_text()?;
        let attempt = source.optional_text()?;
        let document = source.optional_text()?;
        let warehouse_task = source.optional_text()?;
        let quantity = if source.some()? {
            Some(Quantity {
                value: source.decimal()?,
                unit: source.text()?,
                basis: source.symbol(BASES.len())?,
                completeness: source.symbol(COMPLETENESS.len())?,
            })
        } else {
            None
        };
        let amount = if source.some()? { Some(source.decimal()?) } else { None };
        let currency = source.optional_text()?;
        if source.some()? {
            return Err(Unusual); // takes something back
        }
        let orders = source.array(Source::text)?;
        let stops = source.array(Stop::read)?;
        if source.block()? != 0 {
            return Err(Unusual); // references
        }
        source.array(|source| Ok((source.text()?, source.text()?)))?;
        let shipments = source.array(Source::text)?;
        let stated_by = source.optional_text()?;
        let remark = source.optional_text()?;
        let body = Body {
            event_id,
            platform,
            account,
            entity_type,
            entity_id,
            native_status,
            native_reason,
            native_qualifier,
            classifier,
            occurred,
            precision,
            offset_minutes,
            recorded,
            sequence,
            stop,
            leg,
            attempt,
            document,
            warehouse_task,
            quantity,
            amount,
            currency,
            orders,
            stops,
            shipments,
            stated_by,
            remark,
        };
        if source.is_over() && body.is_within_bounds() { Ok(body) } else { Err(Unusual) }
    }

    /// Every text that state or records repeat, but the remark.
    fn each_text(&self, mut tell: impl FnMut(&str)) {
        tell(self.event_id);
        tell(self.native_status);
        let optional = [
            self.native_reason,
            self.native_qualifier,
            self.leg,
            self.attempt,
            self.document,
            self.warehouse_task,
            self.currency,
            self.stated_by,
        ];
        optional.into_iter().flatten().for_each(&mut tell);
        self.orders.iter().chain(&self.shipments).for_each(|text| tell(text));
        if let Some(quantity) = &self.quantity {
            tell(quantity.unit);
        }
        for stop in self.stop.iter().chain(&self.stops) {
            stop.texts().into_iter().filter_map(|(_, said)| said).for_each(&mut tell);
        }
    }

    /// What `pipeline/governance/bounds.py` lets pass, if its texts are short in bytes, too.
    fn is_within_bounds(&self) -> bool {
        let mut fits = !self.event_id.is_empty()
            && (self.amount.is_none() || self.currency.is_some_and(|said| !said.is_empty()))
            && self.offset_minutes.is_none_or(|minutes| minutes.unsigned_abs() <= OFFSET_MINUTES_MAX)
            && self.orders.len().max(self.stops.len()).max(self.shipments.len()) <= LISTED_MAX
            && self.remark.is_none_or(|text| text.len() <= REMARK_CHARACTERS_MAX && json::is_printable(text));
        self.each_text(|text| fits &= text.len() <= ID_CHARACTERS_MAX && json::is_printable(text));
        fits
    }

    /// About how many bytes the event takes in state.
    pub fn weight(&self) -> i64 {
        let mut size = self.remark.map_or(0, str::len);
        self.each_text(|text| size += text.len());
        BASE_BYTES + self.stops.len() as i64 * STOP_BYTES + FORMS * size as i64
    }

    /// What it says besides its time, as state writes it; None: nothing, as most.
    pub fn content(&self, site: Option<&str>) -> Option<Vec<u8>> {
        let currency = self.currency.filter(|said| !said.is_empty());
        let parts = [
            self.quantity.is_some(),
            self.amount.is_some(),
            currency.is_some(),
            !self.orders.is_empty(),
            !self.stops.is_empty(),
            !self.shipments.is_empty(),
            site.is_some(),
        ];
        let mask = parts.iter().rev().fold(0, |mask, part| mask << 1 | i64::from(*part));
        if mask == 0 {
            return None;
        }
        let out = &mut Vec::with_capacity(48);
        avro::long(out, -mask);
        if let Some(quantity) = &self.quantity {
            quantity.keep(out);
        }
        if let Some(amount) = self.amount {
            avro::long(out, amount);
        }
        if let Some(currency) = currency {
            kept_text(out, currency);
        }
        kept_list(out, &self.orders);
        if !self.stops.is_empty() {
            keep_stops(out, &self.stops);
        }
        kept_list(out, &self.shipments);
        if let Some(site) = site {
            kept_text(out, site);
        }
        Some(std::mem::take(out))
    }

    /// What state keeps: the place of each field that says something, and what it says; 0 ends it.
    pub fn keep(&self, out: &mut Vec<u8>) {
        let texts = [
            (1, Some(self.event_id)),
            (2, Some(self.platform).filter(|text| !text.is_empty())),
            (3, Some(self.native_status).filter(|text| !text.is_empty())),
            (4, self.native_reason),
            (5, self.native_qualifier),
            (6, Some(CLASSIFIERS[self.classifier]).filter(|_| self.classifier != 0)),
            (7, Some(PRECISIONS[self.precision]).filter(|_| self.precision != 0)),
            (8, self.leg),
            (9, self.attempt),
            (10, self.document),
            (11, self.warehouse_task),
            (12, self.currency),
            (14, self.stated_by),
            (15, self.remark),
        ];
        for (place, said) in texts {
            if let Some(said) = said {
                out.push(place);
                kept_text(out, said);
            }
        }
        let numbers = [
            (64, Some(self.occurred).filter(|number| *number != 0)),
            (65, self.offset_minutes.map(i64::from)),
            (66, self.recorded),
            (67, self.sequence),
            (68, self.amount),
        ];
        for (place, said) in numbers {
            if let Some(said) = said {
                out.push(place);
                avro::long(out, said);
            }
        }
        self.keep_lists(out);
        out.push(0);
    }

    fn keep_lists(&self, out: &mut Vec<u8>) {
        let written = &mut Vec::with_capacity(96);
        let mut keep = |place: u8, written: &mut Vec<u8>| {
            out.push(place);
            kept_bytes(out, written);
            written.clear();
        };
        if !self.orders.is_empty() {
            json::list_or_null(written, &self.orders, |out, name| json::text(out, name));
            keep(131, written);
        }
        if !self.shipments.is_empty() {
            json::list_or_null(written, &self.shipments, |out, name| json::text(out, name));
            keep(134, written);
        }
        if let Some(stop) = &self.stop {
            out.push(PACKED_STOP);
            stop.keep(out);
        }
        if let Some(quantity) = &self.quantity {
            out.push(PACKED_QUANTITY);
            quantity.keep(out);
        }
        if !self.stops.is_empty() {
            out.push(PACKED_STOPS);
            keep_stops(out, &self.stops);
        }
    }
}

fn keep_stops(out: &mut Vec<u8>, stops: &[Stop]) {
    avro::long(out, stops.len() as i64);
    stops.iter().for_each(|stop| stop.keep(out));
}

/// Bytes behind their length and one more, as state writes them.
pub fn kept_bytes(out: &mut Vec<u8>, value: &[u8]) {
    avro::long(out, value.len() as i64 + 1);
    out.extend_from_slice(value);
}

/// A text of a claim or an entity: a word's place, the bytes of a UUID, or itself.
pub fn kept_text(out: &mut Vec<u8>, value: &str) {
    if let Some(place) = PLACES.get(value) {
        avro::long(out, *place);
    } else if let Some(packed) = identity::packed(value) {
        avro::long(out, UUID);
        out.extend_from_slice(&packed);
    } else {
        kept_bytes(out, value.as_bytes());
    }
}

/// Texts behind their number; nothing at all, if there are none.
fn kept_list(out: &mut Vec<u8>, texts: &[&str]) {
    if !texts.is_empty() {
        avro::long(out, texts.len() as i64);
        texts.iter().for_each(|text| kept_text(out, text));
    }
}

pub fn kept_optional(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => out.push(0),
        Some(said) => kept_text(out, said),
    }
}

pub fn kept_number(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        None => out.push(0),
        Some(number) => {
            out.push(2);
            avro::long(out, number);
        }
    }
}

/// Text that state holds; None: absent.
pub fn kept<'a>(source: &mut Source<'a>) -> Plainly<Option<Cow<'a, str>>> {
    match source.long()? {
        0 => Ok(None),
        UUID => {
            let packed = source.take(16)?.try_into().map_err(|_| Unusual)?;
            Ok(Some(Cow::Owned(identity::uuid(packed))))
        }
        size if size > 0 => {
            let written = source.take(size as usize - 1)?;
            std::str::from_utf8(written).map(|text| Some(Cow::Borrowed(text))).map_err(|_| Unusual)
        }
        place => word(place).map(|word| Some(Cow::Borrowed(word))),
    }
}

fn word(place: i64) -> Plainly<&'static str> {
    let place = place.checked_add(2).map(i64::unsigned_abs).ok_or(Unusual)?;
    WORDS.get(place as usize).copied().ok_or(Unusual)
}

pub fn said<'a>(source: &mut Source<'a>) -> Plainly<Cow<'a, str>> {
    Ok(kept(source)?.unwrap_or_default())
}

/// Pass by a text, or JSON.
pub fn skip(source: &mut Source) -> Plainly<()> {
    match source.long()? {
        UUID => source.take(16).map(drop),
        size if size > 0 => source.take(size as usize - 1).map(drop),
        _ => Ok(()),
    }
}

fn skip_stop(source: &mut Source) -> Plainly<()> {
    let mask = source.byte()?;
    if mask & 1 != 0 {
        source.long()?;
    }
    (0..(mask >> 1).count_ones()).try_for_each(|_| skip(source))
}

fn skip_stops(source: &mut Source) -> Plainly<()> {
    (0..source.long()?).try_for_each(|_| skip_stop(source))
}

/// Pass by a quantity; whether it says that more is to come.
fn skip_quantity(source: &mut Source) -> Plainly<bool> {
    source.long()?;
    skip(source)?;
    skip(source)?;
    Ok(said(source)? == COMPLETENESS[1])
}

fn skip_list(source: &mut Source) -> Plainly<()> {
    (0..source.long()?).try_for_each(|_| skip(source))
}

/// What was said besides the time, as it is written; None: nothing.
pub fn kept_content<'a>(source: &mut Source<'a>) -> Plainly<Option<&'a [u8]>> {
    let begin = source.at;
    let size = source.long()?;
    if size == 0 {
        return Ok(None);
    }
    if size > 0 {
        return Err(Unusual); // JSON of version 3
    }
    let mask = size.unsigned_abs();
    if mask & 1 != 0 {
        skip_quantity(source)?;
    }
    if mask & 2 != 0 {
        source.long()?;
    }
    if mask & 4 != 0 {
        skip(source)?;
    }
    if mask & 8 != 0 {
        skip_list(source)?;
    }
    if mask & 16 != 0 {
        skip_stops(source)?;
    }
    if mask & 32 != 0 {
        skip_list(source)?;
    }
    if mask & 64 != 0 {
        skip(source)?;
    }
    Ok(Some(&source.data[begin..source.at]))
}

/// Whether a content says that more is to come.
pub fn is_partial(content: &[u8]) -> bool {
    let source = &mut Source::new(content, 0);
    source.long().is_ok_and(|mask| mask.unsigned_abs() & 1 != 0) && skip_quantity(source).unwrap_or(false)
}

pub fn number(source: &mut Source) -> Plainly<Option<i64>> {
    if source.long()? == 0 { Ok(None) } else { source.long().map(Some) }
}

/// What judging asks of a claim that state keeps.
pub struct Kept<'a> {
    pub event_id: Cow<'a, str>,
    pub platform: Cow<'a, str>,
    pub occurred: i64,
    pub precision: usize,
    pub retracts: bool,
}

impl<'a> Kept<'a> {
    pub fn read(source: &mut Source<'a>) -> Plainly<Self> {
        let (event_id, platform) = (Cow::default(), Cow::default());
        let mut found = Kept { event_id, platform, occurred: 0, precision: 0, retracts: false };
        loop {
            let place = source.byte()?;
            match place {
                0 => return Ok(found),
                1 => found.event_id = said(source)?,
                2 => found.platform = said(source)?,
                7 => {
                    let precision = said(source)?;
                    let place = PRECISIONS.iter().position(|name| *name == precision);
                    found.precision = place.ok_or(Unusual)?;
                }
                13 => found.retracts = kept(source)?.is_some(),
                64 => found.occurred = source.long()?,
                3..64 | 128..=134 => skip(source)?,
                PACKED_STOP => skip_stop(source)?,
                PACKED_QUANTITY => skip_quantity(source).map(drop)?,
                PACKED_STOPS => skip_stops(source)?,
                65..=68 => {
                    source.long()?;
                }
                _ => return Err(Unusual),
            }
        }
    }
}

/// A claim that state keeps, as far as its place depends on it.
pub struct Told<'a> {
    /// By their places.
    texts: [Cow<'a, str>; 16],
    occurred: i64,
    stop: Option<KeptStop<'a>>,
}

impl<'a> Told<'a> {
    pub fn read(written: &'a [u8]) -> Plainly<Self> {
        let source = &mut Source::new(written, 0);
        let mut told = Told { texts: Default::default(), occurred: 0, stop: None };
        loop {
            match source.byte()? {
                0 => return Ok(told),
                place @ 1..16 => told.texts[usize::from(place)] = said(source)?,
                64 => told.occurred = source.long()?,
                65..=68 => drop(source.long()?),
                129..=134 => skip(source)?,
                PACKED_STOP => told.stop = Some(read_stop(source)?),
                PACKED_QUANTITY => drop(skip_quantity(source)?),
                PACKED_STOPS => skip_stops(source)?,
                _ => return Err(Unusual),
            }
        }
    }

    /// What it says of itself; without lists and amounts, of which its place does not depend.
    pub fn body(&self) -> Plainly<Body<'_>> {
        let text = |place: usize| &*self.texts[place];
        let optional = |place: usize| Some(text(place)).filter(|text| !text.is_empty());
        let symbol = |names: &[&str], place: usize| match text(place) {
            "" => Ok(0),
            said => names.iter().position(|name| *name == said).ok_or(Unusual),
        };
        let stop = self.stop.as_ref().map(|(number, said)| {
            let [role, location, name, city, subdivision, country] =
                said.each_ref().map(|text| text.as_deref());
            Stop { number: *number, role, location, name, city, subdivision, country }
        });
        Ok(Body {
            event_id: text(1),
            platform: text(2),
            account: None,
            entity_type: None,
            entity_id: "",
            native_status: text(3),
            native_reason: optional(4),
            native_qualifier: optional(5),
            classifier: symbol(&CLASSIFIERS, 6)?,
            occurred: self.occurred,
            precision: symbol(&PRECISIONS, 7)?,
            offset_minutes: None,
            recorded: None,
            sequence: None,
            stop,
            leg: optional(8),
            attempt: optional(9),
            document: optional(10),
            warehouse_task: optional(11),
            quantity: None,
            amount: None,
            currency: None,
            orders: Vec::new(),
            stops: Vec::new(),
            shipments: Vec::new(),
            stated_by: None,
            remark: None,
        })
    }
}

type KeptStop<'a> = (Option<i32>, [Option<Cow<'a, str>>; 6]);

fn read_stop<'a>(source: &mut Source<'a>) -> Plainly<KeptStop<'a>> {
    let mask = source.byte()?;
    let number = if mask & 1 != 0 { Some(source.int()?) } else { None };
    let mut texts: [Option<Cow<'a, str>>; 6] = Default::default();
    for (place, text) in texts.iter_mut().enumerate() {
        if mask >> (place + 1) & 1 != 0 {
            *text = Some(said(source)?);
        }
    }
    Ok((number, texts))
}
