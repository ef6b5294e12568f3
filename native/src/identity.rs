//! Keys, ids and digests, as `pipeline/governance/identity.py` and `ledger.py` form them.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Namespace of all milestone ids.
const NAMESPACE: [u8; 16] =
    [0x6d, 0x1f, 0x5e, 0x2e, 0x6b, 0x1c, 0x5a, 0x63, 0x9d, 0x9c, 0x6f, 0x0f, 0x3b, 0x8f, 0x5a, 0x11];

/// UUIDv5 of an occurrence and the generation.
pub fn milestone_id(entity: &str, event_type: &str, discriminator: &str, generation: i64) -> [u8; 16] {
    let mut hashed = Sha1::new();
    hashed.update(NAMESPACE);
    hashed.update(format!("{entity}|{event_type}|{discriminator}|{generation}"));
    let mut id = [0; 16];
    id.copy_from_slice(&hashed.finalize()[..16]);
    id[6] = id[6] & 0x0f | 0x50;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

pub fn uuid(id: &[u8; 16]) -> String {
    let digits = hex(id);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The bytes of a UUID in its usual form; None: it is something else.
pub fn packed(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut packed = [0; 16];
    let mut digits = text.iter().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
    for byte in &mut packed {
        for _ in 0..2 {
            let digit = match digits.next()?.1 {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | digit;
        }
    }
    Some(packed)
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// BLAKE2b of a record's value, 16 bytes.
pub fn digest(value: &[u8]) -> [u8; 16] {
    sixteen(blake2b_simd::Params::new().hash_length(16).hash(value).as_bytes())
}

/// Running digest of approved records after one more.
pub fn chained(before: &[u8], value: &[u8]) -> [u8; 16] {
    let mut hashed = blake2b_simd::Params::new().hash_length(16).to_state();
    sixteen(hashed.update(before).update(value).finalize().as_bytes())
}

/// Digest of an entity's state in the running digest of its partition.
pub fn entity_digest(key: &[u8], value: &[u8]) -> u128 {
    let secret = Sha256::digest(key);
    let hashed = blake2b_simd::Params::new().hash_length(16).key(&secret).hash(value);
    u128::from_be_bytes(sixteen(hashed.as_bytes()))
}

fn sixteen(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("the digest has 16 bytes")
}

/// A part of a key as the key writes it.
pub fn quote(out: &mut String, part: &str) {
    for letter in part.chars() {
        match letter {
            '%' => out.push_str("%25"),
            '/' => out.push_str("%2F"),
            other => out.push(other),
        }
    }
}

pub fn unquoted(part: &str) -> String {
    part.replace("%2F", "/").replace("%25", "%")
}

/// Partition on which a record with this key belongs: murmur2, as Java's clients reckon it.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut value = 0x9747_b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut mixed = u32::from_le_bytes(word.try_into().expect("four bytes"));
        mixed = mixed.wrapping_mul(MULTIPLIER);
        mixed = (mixed ^ mixed >> 24).wrapping_mul(MULTIPLIER);
        value = value.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            value ^= u32::from(*byte) << (8 * at);
        }
        value = value.wrapping_mul(MULTIPLIER);
    }
    value = (value ^ value >> 13).wrapping_mul(MULTIPLIER);
    value ^= value >> 15;
    (value & 0x7fff_ffff) % partitions
}
