//! Whose MX host this is, for metrics: the providers that most destinations are at.

use crate::telemetry::labels::Provider;

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

/// Whose host this is, by the domain that its name is in.
pub(crate) fn of(host: &str) -> Provider {
    let is_in = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
    };
    SUFFIXES.iter().find(|(domain, _)| is_in(domain)).map_or(Provider::Other, |(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_by_the_domain_they_are_in() {
        assert_eq!(of("gmail-smtp-in.l.google.com"), Provider::Google);
        assert_eq!(of("example-com.mail.protection.outlook.com"), Provider::Microsoft);
        assert_eq!(of("mta5.am0.yahoodns.net"), Provider::Yahoo);
        assert_eq!(of("mx01.mail.icloud.com"), Provider::Apple);
        assert_eq!(of("mail.protonmail.ch"), Provider::Proton);
        assert_eq!(of("mx.notgoogle.com"), Provider::Other);
    }
}
