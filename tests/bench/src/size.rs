//! Sizes of volumes.

use std::str::FromStr;

/// A number of bytes: whole MiB, at least 64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    mib: u64,
}

/// Smaller volumes fit into caches and measure those.
const MIB_MIN: u64 = 64;
/// 16 TiB: a mistyped unit.
const MIB_MAX: u64 = 16 << 20;

impl Size {
    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.mib << 20
    }

    /// As `steadfast` takes it.
    pub fn argument(self) -> String {
        format!("{}MiB", self.mib)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, factor) = if let Some(number) = text.strip_suffix("GiB") {
            (number, 1024)
        } else if let Some(number) = text.strip_suffix("MiB") {
            (number, 1)
        } else {
            return Err("a size needs a unit, as in 2GiB or 512MiB".to_owned());
        };
        let number: u64 = number
            .parse()
            .map_err(|_| format!("\"{number}\" is no whole number"))?;
        match number.checked_mul(factor) {
            Some(mib) if (MIB_MIN..=MIB_MAX).contains(&mib) => Ok(Self { mib }),
            Some(_) | None => Err("from 64MiB to 16384GiB".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        assert_eq!("2GiB".parse::<Size>().map(Size::bytes), Ok(2 << 30));
        assert_eq!("64MiB".parse::<Size>().map(Size::bytes), Ok(64 << 20));
        assert_eq!(
            "64MiB".parse::<Size>().map(Size::argument),
            Ok("64MiB".to_owned())
        );
        for bad in [
            "",
            "2",
            "GiB",
            "2G",
            "2GB",
            "-1GiB",
            "1.5GiB",
            "63MiB",
            "99999999999999GiB",
        ] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
