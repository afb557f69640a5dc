//! Whose MX host this is, for metrics: the providers that most destinations are at.

/// Who runs an MX host; the label `provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Google,
    Microsoft,
    Yahoo,
    Apple,
    Proton,
    Other,
}

/// Suffixes of MX host names, as published by the providers' own domains in 2026.
const SUFFIXES: &[(&str, Provider)] = &[
    ("google.com", Provider::Google),
    ("googlemail.com", Provider::Google),
    ("outlook.com", Provider::Microsoft),
    ("mx.microsoft", Provider::Microsoft),
    ("yahoodns.net", Provider::Yahoo),
    ("icloud.com", Provider::Apple),
    ("protonmail.ch", Provider::Proton),
];

impl Provider {
    /// Whose host this is, by the domain that its name is in.
    pub(crate) fn of(host: &str) -> Self {
        let is_in = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
        };
        SUFFIXES.iter().find(|(domain, _)| is_in(domain)).map_or(Self::Other, |(_, provider)| *provider)
    }

    /// The label's value.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Yahoo => "yahoo",
            Self::Apple => "apple",
            Self::Proton => "proton",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_by_the_domain_they_are_in() {
        assert_eq!(Provider::of("gmail-smtp-in.l.google.com"), Provider::Google);
        assert_eq!(Provider::of("example-com.mail.protection.outlook.com"), Provider::Microsoft);
        assert_eq!(Provider::of("mta5.am0.yahoodns.net"), Provider::Yahoo);
        assert_eq!(Provider::of("mx01.mail.icloud.com"), Provider::Apple);
        assert_eq!(Provider::of("mail.protonmail.ch"), Provider::Proton);
        assert_eq!(Provider::of("mx.notgoogle.com"), Provider::Other);
    }
}
