//! Templates that programs pass: attributes with values of the right form.

use std::ops::RangeInclusive;

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_DATE, CK_ULONG, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCOMPLETE,
    CKR_TEMPLATE_INCONSISTENT,
};

use crate::attributes::name;
use crate::error::Error;
use crate::ffi::convert::TemplateIn;

/// The longest value that is looked at, in bytes: no certificate is longer, and nothing of a key.
const MAX_VALUE_LEN: usize = 1 << 20;

/// A template: no attribute is in it twice.
#[derive(Debug)]
pub(crate) struct Template<'a> {
    attributes: Vec<(CK_ATTRIBUTE_TYPE, &'a [u8])>,
}

impl<'a> Template<'a> {
    /// Takes what a program says that an object is to be.
    ///
    /// # Errors
    /// NULL where there ought to be something, an attribute with two values, or one that is too
    /// long.
    pub(crate) fn read(given: &TemplateIn<'a>) -> Result<Self, Error> {
        Self::possible(given)?
    }

    /// Takes what a program looks for. None: an attribute with two values or with one that is too
    /// long, which no object has.
    ///
    /// # Errors
    /// NULL where there ought to be something.
    pub(crate) fn sought(given: &TemplateIn<'a>) -> Result<Option<Self>, Error> {
        Ok(Self::possible(given)?.ok())
    }

    /// What is passed, or else why no object is so. A value is not read before its length is known
    /// to be one that can be.
    fn possible(given: &TemplateIn<'a>) -> Result<Result<Self, Error>, Error> {
        let mut attributes: Vec<(CK_ATTRIBUTE_TYPE, &[u8])> = Vec::new();
        for (type_, value) in given.read()? {
            if value.len() > MAX_VALUE_LEN {
                let problem = format!("it is longer than {MAX_VALUE_LEN} bytes");
                return Ok(Err(invalid(type_, &problem)));
            }
            match attributes.iter().find(|(known, _)| *known == type_) {
                None => attributes.push((type_, value)),
                Some((_, first)) if *first == value => {}
                Some(_) => {
                    let problem = format!("the template has {} with two values", name(type_));
                    return Ok(Err(Error::because(CKR_TEMPLATE_INCONSISTENT, problem)));
                }
            }
        }
        Ok(Ok(Self { attributes }))
    }

    /// The same but for some attributes.
    pub(crate) fn without(&self, is_left_out: impl Fn(CK_ATTRIBUTE_TYPE) -> bool) -> Self {
        let others = self.iter().filter(|(other, _)| !is_left_out(*other));
        Self {
            attributes: others.collect(),
        }
    }

    /// All attributes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &'a [u8])> {
        self.attributes.iter().copied()
    }

    /// The bytes of an attribute.
    pub(crate) fn bytes(&self, type_: CK_ATTRIBUTE_TYPE) -> Option<&'a [u8]> {
        let found = self.attributes.iter().find(|(known, _)| *known == type_);
        found.map(|(_, value)| *value)
    }

    /// The value of an attribute that is true or false.
    pub(crate) fn flag(&self, type_: CK_ATTRIBUTE_TYPE) -> Result<Option<bool>, Error> {
        let value = self.bytes(type_);
        value.map(|value| flag(type_, value)).transpose()
    }

    /// The value of an attribute that is a number.
    pub(crate) fn number(&self, type_: CK_ATTRIBUTE_TYPE) -> Result<Option<CK_ULONG>, Error> {
        let value = self.bytes(type_);
        value.map(|value| number(type_, value)).transpose()
    }
}

/// A value that is true or false.
pub(crate) fn flag(type_: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<bool, Error> {
    match value {
        [0] => Ok(false),
        [_] => Ok(true),
        _ => Err(invalid(type_, "it is not a CK_BBOOL")),
    }
}

/// A value that is a number.
pub(crate) fn number(type_: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<CK_ULONG, Error> {
    let bytes = value.try_into();
    bytes
        .map(CK_ULONG::from_ne_bytes)
        .map_err(|_| invalid(type_, "it is not a CK_ULONG"))
}

/// A value that is text.
pub(crate) fn text(type_: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(value);
    text.map(str::to_owned)
        .map_err(|_| invalid(type_, "it is not UTF-8"))
}

/// The error for what a template has to have.
pub(crate) fn incomplete(type_: CK_ATTRIBUTE_TYPE) -> Error {
    Error::because(
        CKR_TEMPLATE_INCOMPLETE,
        format!("the template lacks {}", name(type_)),
    )
}

/// A value that can't be.
pub(crate) fn invalid(type_: CK_ATTRIBUTE_TYPE, problem: &str) -> Error {
    Error::because(
        CKR_ATTRIBUTE_VALUE_INVALID,
        format!("the value of {} can't be used: {problem}", name(type_)),
    )
}

/// A value that is right for another key only.
pub(crate) fn of_another_key(type_: CK_ATTRIBUTE_TYPE) -> Error {
    Error::because(
        CKR_TEMPLATE_INCONSISTENT,
        format!(
            "{} is not that of the key that the template has",
            name(type_)
        ),
    )
}

pub(crate) const DAY: i64 = 86_400;

/// The first and the last second of the years that have four digits, since 1970.
const YEARS: RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// A time in seconds since 1970 as the day that it is on, in UTC: `YYYYMMDD`. What lies beyond the
/// years of four digits counts as their first or last day.
pub(crate) fn date(seconds: i64) -> Vec<u8> {
    let seconds = seconds.clamp(*YEARS.start(), *YEARS.end());
    // Days of years that begin in March, in eras of 400 years.
    let days = seconds.div_euclid(DAY) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = from_march + if from_march < 10 { 3 } else { -9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}").into_bytes()
}

/// The same for a sentence: `YYYY-MM-DD`.
pub(crate) fn day(seconds: i64) -> String {
    let mut day = String::from_utf8_lossy(&date(seconds)).into_owned();
    day.insert(6, '-');
    day.insert(4, '-');
    day
}

/// The first second of the day in a `CK_DATE`; None for an empty one.
pub(crate) fn seconds(type_: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Result<Option<i64>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || invalid(type_, "it is not a CK_DATE: YYYYMMDD");
    if value.len() != size_of::<CK_DATE>() || !value.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (
        number(&value[..4]),
        number(&value[4..6]),
        number(&value[6..]),
    );
    let of_march = year - i64::from(month <= 2);
    let era = of_march.div_euclid(400);
    let of_era = of_march.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    // The day has to be one of the calendar.
    match date(days * DAY) == value {
        true => Ok(Some(days * DAY)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::CKA_START_DATE;

    use super::*;

    #[test]
    fn what_lies_beyond_years_of_four_digits_is_their_first_or_last_day() {
        for (at, text) in [
            (253_402_300_799, "99991231"),
            (253_402_300_800, "99991231"),
            (i64::MAX, "99991231"),
            (-62_167_219_200, "00000101"),
            (-62_167_219_201, "00000101"),
            (i64::MIN, "00000101"),
        ] {
            assert_eq!(date(at), text.as_bytes(), "{at}");
        }
        assert_eq!(day(i64::MAX), "9999-12-31");
        assert_eq!(day(1_795_737_600), "2026-11-27");
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        for (at, text) in [
            (0, "19700101"),
            (86_399, "19700101"),
            (951_782_400, "20000229"),
            (1_709_164_800, "20240229"),
            (1_795_737_600, "20261127"),
            (4_102_444_800, "21000101"),
        ] {
            assert_eq!(date(at), text.as_bytes(), "{at}");
            let first = at - at % DAY;
            assert_eq!(
                seconds(CKA_START_DATE, text.as_bytes()).unwrap(),
                Some(first)
            );
        }
        assert_eq!(seconds(CKA_START_DATE, b"").unwrap(), None);
        for wrong in ["20230229", "20231301", "20230100", "2023010", "2023-1-1"] {
            assert!(
                seconds(CKA_START_DATE, wrong.as_bytes()).is_err(),
                "{wrong}"
            );
        }
    }
}
