//! The records that plain claims bring about, in the shapes of `pipeline/governance/outputs.py`.

use crate::avro;
use crate::entity::{ACTION_SYMBOLS, ASSURANCE_SYMBOLS, Entity, Occurrence, Reference, site_of};
use crate::identity;
use crate::judge::{Record, Setting};
use crate::policy::{Platform, Policy};
use crate::raw::{Body, Stop};

/// What an approved record says: the first revision of an occurrence, by its owner's word.
pub struct Approved<'a> {
    pub setting: &'a Setting<'a>,
    /// Already at its new sequence and status.
    pub entity: &'a Entity,
    pub occurrence: &'a Occurrence,
    pub platform: &'a Platform,
    pub region: Option<&'a str>,
    pub place: Option<&'a str>,
    pub body: &'a Body<'a>,
    pub record: &'a Record<'a>,
    pub rule: &'a str,
    pub advances: bool,
    pub skipped: Vec<&'a str>,
    pub agree: Vec<&'a str>,
    pub dissent: Vec<&'a str>,
    pub flags: Vec<&'a str>,
}

fn framed(id: [u8; 4], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    out.push(0);
    out.extend_from_slice(&id);
    out
}

fn write_texts<T: AsRef<str>>(out: &mut Vec<u8>, texts: &[T]) {
    avro::array(out, texts, |out, text| avro::text(out, text.as_ref()));
}

fn write_references(out: &mut Vec<u8>, references: &[Reference]) {
    avro::array(out, references, |out, reference| {
        avro::text(out, &reference.kind);
        avro::text(out, &reference.scope);
        avro::text(out, &reference.value);
    });
}

fn write_stop(out: &mut Vec<u8>, stop: &Stop) {
    avro::optional_long(out, stop.number.map(i64::from));
    for (_, said) in stop.texts() {
        avro::optional_text(out, said);
    }
}

/// The value of an approved record.
pub fn approved(told: &Approved) -> Vec<u8> {
    let (entity, body, record) = (told.entity, told.body, told.record);
    let policy = told.setting.policy;
    let milestone = identity::uuid(&told.occurrence.id);
    let out = &mut framed(told.setting.approved_id, 1_024);
    avro::text(out, &format!("{milestone}:{}", told.occurrence.revision));
    avro::text(out, &milestone);
    avro::long(out, told.occurrence.revision);
    avro::long(out, ACTION_SYMBOLS[told.occurrence.action]);
    avro::long(out, ASSURANCE_SYMBOLS[told.occurrence.assurance]);
    avro::text(out, &told.occurrence.event_type);
    avro::long(out, body.classifier as i64);
    avro::text(out, &entity.tenant);
    avro::text(out, &entity.kind);
    avro::text(out, &entity.id);
    avro::long(out, entity.seq);
    write_texts(out, &correlations(entity));
    write_references(out, &entity.references);
    write_place(out, told);
    let region = told.region.filter(|region| !region.is_empty());
    avro::optional_text(out, region.or(entity.region.as_deref()));
    for said in [body.leg, body.attempt, body.document, body.warehouse_task] {
        avro::optional_text(out, said);
    }
    match &body.quantity {
        None => out.push(0),
        Some(quantity) => {
            out.push(2);
            quantity.write(out);
        }
    }
    match body.amount {
        None => out.push(0),
        Some(amount) => {
            out.push(2);
            avro::decimal(out, amount);
        }
    }
    avro::optional_text(out, body.currency);
    avro::long(out, body.occurred);
    avro::long(out, body.precision as i64);
    avro::optional_long(out, body.offset_minutes.map(i64::from));
    avro::optional_long(out, body.recorded);
    avro::long(out, record.received);
    avro::text(out, body.platform);
    avro::text(out, &told.platform.role);
    avro::text(out, body.native_status);
    avro::optional_text(out, body.native_reason);
    avro::text(out, body.event_id);
    avro::text(out, record.topic);
    avro::long(out, i64::from(told.setting.partition));
    avro::long(out, record.offset);
    avro::text(out, &identity::hex(&record.digest));
    avro::text(out, &policy.version);
    avro::text(out, told.rule);
    avro::text(out, "owner_spoke");
    out.extend_from_slice(&[0, 0]); // supersedes nothing
    out.push(u8::from(told.advances));
    avro::text(out, &entity.status);
    for texts in [&told.skipped, &told.agree, &told.dissent, &told.flags] {
        write_texts(out, texts);
    }
    avro::long(out, i64::from(told.setting.partition));
    avro::long(out, record.seq);
    out.push(0); // splits nothing
    avro::optional_text(out, body.stated_by);
    avro::optional_text(out, body.remark);
    out.push(0); // repaired by nobody
    avro::long(out, entity.generation);
    std::mem::take(out)
}

/// The stop as the record shows it: the canonical place, with its zone.
fn write_place(out: &mut Vec<u8>, told: &Approved) {
    let (policy, entity) = (told.setting.policy, told.entity);
    let place = location(policy, told.occurrence).or(told.place);
    let planned = place.and_then(|place| entity.stops().iter().find(|item| *item.place == *place));
    let named = place.filter(|place| !place.is_empty());
    let site = named.and_then(|place| policy.site(&entity.tenant, site_of(place)));
    if told.body.stop.is_none() && planned.is_none() && site.is_none() {
        out.push(0);
        return;
    }
    let told_stop = told.body.stop.or(planned.map(|item| item.stop())).unwrap_or_default();
    let filled = |said: Option<&str>| said.is_some_and(|said| !said.is_empty());
    let role = Some(told_stop.role).filter(|role| filled(*role));
    let shown = Stop {
        number: planned.map_or(told_stop.number, |item| item.number),
        role: role.unwrap_or(planned.and_then(|item| item.role.as_deref())),
        location: named.or(told_stop.location),
        name: site.map_or(told_stop.name, |site| Some(&site.name)),
        city: site.map_or(told_stop.city, |site| Some(&site.city)),
        subdivision: site
            .map_or(told_stop.subdivision, |site| Some(&*site.subdivision).filter(|text| !text.is_empty())),
        country: site.map_or(told_stop.country, |site| Some(&site.country)),
    };
    out.push(2);
    write_stop(out, &shown);
    avro::optional_text(out, site.map(|site| &*site.zone));
}

/// Place by which an occurrence is told apart.
fn location<'a>(policy: &Policy, occurrence: &'a Occurrence) -> Option<&'a str> {
    policy.kind(occurrence.kind).filter(|kind| kind.by_stop)?;
    occurrence.discriminator.split('@').next().filter(|place| !place.is_empty())
}

/// A shipment's orders; an order's shipments, once something stands of them.
fn correlations(entity: &Entity) -> Vec<&str> {
    if !entity.orders.is_empty() {
        return entity.orders.iter().map(|order| &**order).collect();
    }
    if &*entity.kind != "order" {
        return Vec::new();
    }
    let told = entity.linked.iter().filter(|item| !item.status.is_empty() && !item.ended);
    told.map(|item| &*item.key).collect()
}

/// The value of an entity's status record.
pub fn status(policy: &Policy, id: [u8; 4], entity: &Entity) -> Vec<u8> {
    let out = &mut framed(id, 256 + 128 * entity.occurrences.len());
    avro::text(out, &entity.tenant);
    avro::text(out, &entity.kind);
    avro::text(out, &entity.id);
    avro::long(out, entity.seq);
    avro::text(out, &entity.status);
    avro::optional_text(out, entity.region.as_deref());
    avro::long(out, entity.received);
    let mut told: Vec<&Occurrence> = entity.occurrences.iter().filter(|item| item.revision != 0).collect();
    told.sort_by_key(|item| item.seq);
    avro::array(out, &told, |out, item| {
        avro::text(out, &identity::uuid(&item.id));
        avro::long(out, item.revision);
        avro::text(out, &item.event_type);
        avro::long(out, ACTION_SYMBOLS[item.action]);
        avro::long(out, ASSURANCE_SYMBOLS[item.assurance]);
        avro::optional_text(out, location(policy, item));
        avro::long(out, item.published);
        avro::text(out, &item.platform);
    });
    avro::array(out, entity.stops(), |out, planned| {
        let stop = Stop { location: Some(&planned.place), ..planned.stop() };
        write_stop(out, &stop);
    });
    avro::array(out, &correlations(entity), |out, key| {
        let linked = entity.linked.iter().find(|item| item.key == **key);
        avro::text(out, key);
        avro::text(out, linked.map_or("", |item| &item.status));
    });
    write_references(out, &entity.references);
    let flags: &[&str] = if entity.incomplete.is_empty() { &[] } else { &["incomplete"] };
    write_texts(out, flags);
    avro::text(out, &policy.version);
    std::mem::take(out)
}

/// The value of a link that tells an order the status of its shipment.
pub fn link(setting: &Setting, entity: &Entity, target: &str, cause: i64) -> Vec<u8> {
    const SHIPMENT_OF_ORDER: i64 = 1;
    let out = &mut framed(setting.link_id, 256);
    avro::long(out, SHIPMENT_OF_ORDER);
    avro::text(out, &entity.key);
    avro::text(out, target);
    avro::long(out, entity.link_seq);
    avro::long(out, 1);
    avro::long(out, setting.clock);
    avro::text(out, &entity.status);
    avro::optional_text(out, entity.region.as_deref());
    out.extend_from_slice(&[0, 0]); // valid from and to
    avro::long(out, i64::from(setting.partition));
    avro::long(out, cause);
    out.push(0); // orders
    std::mem::take(out)
}
