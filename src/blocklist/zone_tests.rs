use super::*;

impl Zone {
    pub(crate) fn subscribe(&self, family: Family) -> watch::Receiver<Health> {
        self.health(family).subscribe()
    }

    pub(crate) fn remember(&self, ip: IpAddr, verdict: Verdict, valid_until: Instant) {
        let known = Known { verdict, codes: Box::default(), valid_until };
        self.verdicts.insert(ip, Arc::new(OnceCell::new_with(Some(known))));
    }
}

fn seconds_kept(ttl: u64, found: bool) -> u64 {
    let valid_until = Instant::now() + Duration::from_secs(ttl);
    let answer = if found {
        Ok(Answer {
            records: vec![Ipv4Addr::new(127, 0, 0, 2)],
            valid_until,
            security: crate::dns::Security::Insecure,
        })
    } else {
        Err(DnsError::NoSuchName { name: String::new(), valid_until })
    };
    let known = read(answer, &[LISTINGS]).unwrap();
    (known.valid_until - Instant::now()).as_secs_f64().round() as u64
}

#[test]
fn verdicts_are_kept_for_their_ttl_between_a_second_and_an_hour() {
    for found in [true, false] {
        assert_eq!(seconds_kept(0, found), 1);
        assert_eq!(seconds_kept(300, found), 300);
        assert_eq!(seconds_kept(86_400, found), 3600);
    }
}

#[test]
fn an_answer_without_records_of_the_type_is_no_listing() {
    let answer = DnsError::NoRecords { name: String::new(), valid_until: Instant::now() };
    assert_eq!(read(Err(answer), &[LISTINGS]).unwrap().verdict, Verdict::NotListed);
}
