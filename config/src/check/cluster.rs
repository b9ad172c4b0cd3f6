//! What all nodes share: names, key, timing.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::Check;
use crate::model::{Cluster, Key, Profile};
use crate::raw::RawCluster;
use crate::unit;

impl Check<'_> {
    pub(super) fn cluster(&mut self, raw: &RawCluster, span: Range<usize>) -> Option<Cluster> {
        let name = self.name("cluster", &raw.name);
        let id = self.id("cluster", &raw.id);
        let key = self.key(raw, span);
        let profile = match &raw.profile {
            None => Some(Profile::Lan),
            Some(text) => {
                let profile = Profile::named(text.get_ref());
                if profile.is_none() {
                    self.problem(
                        text.span(),
                        format!("unknown timing profile \"{}\"", text.get_ref()),
                        "use \"fast\", \"lan\" or \"wan\"",
                    );
                }
                profile
            }
        };
        let interval = match &raw.interval {
            None => profile.map(Profile::interval),
            Some(text) => self.interval(text),
        };
        let missed = match &raw.missed {
            None => profile.map(Profile::missed),
            Some(missed) => self.missed(missed),
        };
        Some(Cluster {
            name: name?,
            id: id?,
            key: key?,
            profile: profile?,
            interval: interval?,
            missed: missed?,
        })
    }

    fn interval(&mut self, text: &Spanned<String>) -> Option<Duration> {
        match unit::parse_duration(text.get_ref()) {
            Ok(time) if (Duration::from_millis(10)..=Duration::from_secs(1)).contains(&time) => {
                Some(time)
            }
            Ok(_) => {
                self.problem(
                    text.span(),
                    format!("interval \"{}\" is out of range", text.get_ref()),
                    "use 10ms to 1s",
                );
                None
            }
            Err(error) => {
                self.problem(text.span(), error, "");
                None
            }
        }
    }

    fn missed(&mut self, missed: &Spanned<i64>) -> Option<u32> {
        match *missed.get_ref() {
            value @ 2..=20 => u32::try_from(value).ok(),
            value => {
                self.problem(
                    missed.span(),
                    format!("missed = {value} is out of range"),
                    "use 2 to 20",
                );
                None
            }
        }
    }

    fn key(&mut self, raw: &RawCluster, span: Range<usize>) -> Option<Key> {
        const RIGHT: &str = "a key is 64 hexadecimal digits (32 bytes), for example from \
                             `openssl rand -hex 32`";
        let (text, at) = match (&raw.key, &raw.key_file) {
            (Some(key), None) => (key.get_ref().clone(), key.span()),
            (None, Some(path)) => {
                let file = self.base.join(path.get_ref());
                match crate::read::text(&file) {
                    Ok(text) => (text.trim().to_owned(), path.span()),
                    Err(error) => {
                        self.problem(
                            path.span(),
                            format!("key file {} cannot be read: {error}", file.display()),
                            RIGHT,
                        );
                        return None;
                    }
                }
            }
            (None, None) => {
                self.problem(span, "the cluster has no key", "give key or key_file");
                return None;
            }
            (Some(_), Some(file)) => {
                self.problem(
                    file.span(),
                    "both key and key_file are given",
                    "give one of them",
                );
                return None;
            }
        };
        let key = decode_key(&text);
        if key.is_none() {
            let what = if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                format!("the key has {} digits", text.len())
            } else {
                "the key is not hexadecimal".into()
            };
            self.problem(at, what, RIGHT);
        }
        key
    }
}

fn decode_key(text: &str) -> Option<Key> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        if pair.starts_with('+') {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Key(key))
}
