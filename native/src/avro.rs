//! Avro's binary encoding in its canonical form, as `pipeline/contract/canonical.py` reads and writes it.
//!
//! Whatever is not canonical is [`Unusual`]: the caller hands the record to Python.

/// What the plain path does not know, or does not want to know. Carries nothing: Python judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual;

pub type Plainly<T> = Result<T, Unusual>;

/// Bytes, and how far they have been read.
pub struct Source<'a> {
    pub data: &'a [u8],
    pub at: usize,
}

impl<'a> Source<'a> {
    pub fn new(data: &'a [u8], at: usize) -> Self {
        Source { data, at }
    }

    pub fn is_over(&self) -> bool {
        self.at == self.data.len()
    }

    #[inline]
    pub fn byte(&mut self) -> Plainly<u8> {
        let byte = *self.data.get(self.at).ok_or(Unusual)?;
        self.at += 1;
        Ok(byte)
    }

    pub fn take(&mut self, size: usize) -> Plainly<&'a [u8]> {
        let end = self.at.checked_add(size).ok_or(Unusual)?;
        let found = self.data.get(self.at..end).ok_or(Unusual)?;
        self.at = end;
        Ok(found)
    }

    /// A zigzag varint of 64 bits, in as few bytes as possible.
    #[inline]
    pub fn long(&mut self) -> Plainly<i64> {
        let first = self.byte()?;
        if first < 128 {
            return Ok(i64::from(first >> 1) ^ -i64::from(first & 1));
        }
        let mut value = u64::from(first & 127);
        let mut shift = 7;
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte != 1 {
                return Err(Unusual);
            }
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                if byte == 0 {
                    return Err(Unusual);
                }
                break;
            }
            shift += 7;
        }
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn int(&mut self) -> Plainly<i32> {
        i32::try_from(self.long()?).map_err(|_| Unusual)
    }

    pub fn bytes(&mut self) -> Plainly<&'a [u8]> {
        let size = usize::try_from(self.long()?).map_err(|_| Unusual)?;
        self.take(size)
    }

    #[inline]
    pub fn text(&mut self) -> Plainly<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unusual)
    }

    /// A branch of `null` and one other type: whether it is the other one.
    #[inline]
    pub fn some(&mut self) -> Plainly<bool> {
        match self.byte()? {
            0 => Ok(false),
            2 => Ok(true),
            _ => Err(Unusual),
        }
    }

    pub fn optional_text(&mut self) -> Plainly<Option<&'a str>> {
        if self.some()? { self.text().map(Some) } else { Ok(None) }
    }

    pub fn optional_long(&mut self) -> Plainly<Option<i64>> {
        if self.some()? { self.long().map(Some) } else { Ok(None) }
    }

    pub fn optional_int(&mut self) -> Plainly<Option<i32>> {
        if self.some()? { self.int().map(Some) } else { Ok(None) }
    }

    pub fn symbol(&mut self, count: usize) -> Plainly<usize> {
        let place = usize::try_from(self.long()?).map_err(|_| Unusual)?;
        if place < count { Ok(place) } else { Err(Unusual) }
    }

    /// A decimal of 18 digits, as the scaled integer.
    pub fn decimal(&mut self) -> Plainly<i64> {
        let written = self.bytes()?;
        if written.len() > 16 {
            return Err(Unusual);
        }
        let negative = written.first().is_some_and(|byte| byte & 128 != 0);
        let mut value: i128 = if negative { -1 } else { 0 };
        for byte in written {
            value = value << 8 | i128::from(*byte);
        }
        if value.unsigned_abs() >= DECIMAL_MAX { Err(Unusual) } else { Ok(value as i64) }
    }

    /// How many items the next block of an array or map has; 0 ends it.
    pub fn block(&mut self) -> Plainly<usize> {
        let count = usize::try_from(self.long()?).map_err(|_| Unusual)?;
        if count > self.data.len() - self.at { Err(Unusual) } else { Ok(count) }
    }

    pub fn array<T>(&mut self, item: impl Fn(&mut Self) -> Plainly<T>) -> Plainly<Vec<T>> {
        let mut found = Vec::new();
        loop {
            let count = self.block()?;
            if count == 0 {
                return Ok(found);
            }
            for _ in 0..count {
                found.push(item(self)?);
            }
        }
    }
}

/// Decimals of 18 digits are below it.
pub const DECIMAL_MAX: u128 = 1_000_000_000_000_000_000;

pub fn long(out: &mut Vec<u8>, number: i64) {
    let mut value = ((number << 1) ^ (number >> 63)) as u64;
    while value > 127 {
        out.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, value.len() as i64);
    out.extend_from_slice(value);
}

pub fn text(out: &mut Vec<u8>, value: &str) {
    bytes(out, value.as_bytes());
}

pub fn optional_text(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => out.push(0),
        Some(said) => {
            out.push(2);
            text(out, said);
        }
    }
}

pub fn optional_long(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        None => out.push(0),
        Some(number) => {
            out.push(2);
            long(out, number);
        }
    }
}

/// A decimal in as few bytes as its `bit_length` of Python asks for.
pub fn decimal(out: &mut Vec<u8>, value: i64) {
    let bits = 64 - value.unsigned_abs().leading_zeros() as usize;
    let size = bits / 8 + 1;
    long(out, size as i64);
    let wide = i128::from(value).to_be_bytes();
    out.extend_from_slice(&wide[16 - size..]);
}

pub fn array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        long(out, items.len() as i64);
        for item in items {
            write(out, item);
        }
    }
    out.push(0);
}
