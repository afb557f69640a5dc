use super::super::arc::ChainResult;
use super::super::dkim::Endurance;
use super::*;
use crate::mail::Address;
use crate::pipeline::parcel::ArcState;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn signature(outcome: Outcome, name: &str) -> Signature {
    Signature {
        outcome,
        domain: Some(domain(name)),
        selector: Some("s".into()),
        algorithm: Some("rsa-sha256"),
        b: Some("b".into()),
        signed: Vec::new(),
        endurance: Endurance::Lasting,
    }
}

fn assessment(result: Evaluation, policy: Policy) -> Assessment {
    Assessment { author: domain("author.example"), result, policy }
}

/// Nothing passes, nothing fails, and no policy applies.
fn nothing() -> Findings {
    Findings {
        reverse_path: ReversePath::Mailbox(Address::parse("a@sender.example").unwrap()),
        helo: Some(domain("mx.sender.example")),
        early: EarlyVerdict {
            spf_helo: SpfVerdict::None,
            spf_explanation: None,
            spf_mail_from: SpfVerdict::None,
            confirmed_names: Vec::new(),
            iprev: IprevVerdict::PermError,
            sender_null_mx: false,
        },
        signatures: Vec::new(),
        signing: Signing::Unsigned,
        chain: Chain::without_word(ArcState::None, ChainResult::None),
        assessments: Vec::new(),
        vouched: Vouched::No,
    }
}

fn failing(policy: Policy) -> Findings {
    Findings { assessments: vec![assessment(Evaluation::Fail, policy)], ..nothing() }
}

fn with_spf(mut findings: Findings, verdict: SpfVerdict) -> Findings {
    findings.early.spf_mail_from = verdict;
    findings
}

fn with_signature(mut findings: Findings, signature: Signature) -> Findings {
    findings.signatures.push(signature);
    findings.signing = Signing::Signed;
    findings
}

fn dmarc(mode: DmarcMode, findings: &Findings) -> Result<DmarcVerdict, Refusal> {
    let trusted = [domain("list.example")];
    let demands = Demands { dmarc: mode, pass: PassDemand::Exempt, trusted_arc_sealers: &trusted };
    judge(findings, &demands).map(|judgement| judgement.dmarc)
}

fn pass(findings: &Findings) -> Result<(), Refusal> {
    let demands = Demands { dmarc: DmarcMode::Enforce, pass: PassDemand::Required, trusted_arc_sealers: &[] };
    judge(findings, &demands).map(|_| ())
}

fn rejected() -> Result<DmarcVerdict, Refusal> {
    Err(Refusal::Dmarc(domain("author.example")))
}

const UNAVAILABLE: Refusal = Refusal::AuthenticationUnavailable;

#[test]
fn enforce_rejects_on_p_reject_and_nothing_else() {
    let mode = DmarcMode::Enforce;
    assert_eq!(dmarc(mode, &failing(Policy::Reject)), rejected());
    assert_eq!(dmarc(mode, &failing(Policy::Quarantine)), Ok(DmarcVerdict::Fail));
    assert_eq!(dmarc(mode, &failing(Policy::None)), Ok(DmarcVerdict::Fail));
    for (result, verdict) in [(Evaluation::Pass, DmarcVerdict::Pass), (Evaluation::None, DmarcVerdict::None)]
    {
        let findings = Findings { assessments: vec![assessment(result, Policy::Reject)], ..nothing() };
        assert_eq!(dmarc(mode, &findings), Ok(verdict));
    }
}

#[test]
fn monitor_never_rejects_or_defers() {
    for result in [Evaluation::Fail, Evaluation::TempError] {
        let findings = Findings { assessments: vec![assessment(result, Policy::Reject)], ..nothing() };
        assert!(dmarc(DmarcMode::Monitor, &with_spf(findings, SpfVerdict::Fail)).is_ok());
    }
}

#[test]
fn rfc9989_7_4_rejects_only_with_a_second_signal() {
    let mode = DmarcMode::Rfc9989;
    let spoof = with_spf(failing(Policy::Reject), SpfVerdict::Fail);
    assert_eq!(dmarc(mode, &spoof), rejected());
    assert_eq!(dmarc(mode, &with_spf(failing(Policy::Quarantine), SpfVerdict::Fail)), Ok(DmarcVerdict::Fail));
    for verdict in
        [SpfVerdict::Pass, SpfVerdict::SoftFail, SpfVerdict::Neutral, SpfVerdict::None, SpfVerdict::PermError]
    {
        assert_eq!(
            dmarc(mode, &with_spf(failing(Policy::Reject), verdict)),
            Ok(DmarcVerdict::Fail),
            "{verdict:?}"
        );
    }
    assert_eq!(dmarc(mode, &with_spf(failing(Policy::Reject), SpfVerdict::TempError)), Err(UNAVAILABLE));
    let broken = with_signature(spoof, signature(Outcome::Fail("x"), "author.example"));
    assert_eq!(dmarc(mode, &broken), Ok(DmarcVerdict::Fail));
}

#[test]
fn a_temporary_error_defers_only_where_it_decides() {
    let missing =
        |policy| Findings { assessments: vec![assessment(Evaluation::TempError, policy)], ..nothing() };
    assert_eq!(dmarc(DmarcMode::Enforce, &missing(Policy::Reject)), Err(UNAVAILABLE));
    assert_eq!(dmarc(DmarcMode::Enforce, &missing(Policy::Quarantine)), Ok(DmarcVerdict::TempError));
    assert_eq!(dmarc(DmarcMode::Enforce, &missing(Policy::None)), Ok(DmarcVerdict::TempError));
    assert_eq!(dmarc(DmarcMode::Rfc9989, &missing(Policy::Reject)), Ok(DmarcVerdict::TempError));
    assert_eq!(
        dmarc(DmarcMode::Rfc9989, &with_spf(missing(Policy::Reject), SpfVerdict::Fail)),
        Err(UNAVAILABLE)
    );
}

#[test]
fn of_several_author_domains_the_strictest_wins() {
    let of = |assessments: &[(Evaluation, Policy)]| {
        let assessments = assessments.iter().map(|(result, policy)| assessment(*result, *policy)).collect();
        dmarc(DmarcMode::Enforce, &Findings { assessments, ..nothing() })
    };
    let (fail, pass, temp, none) =
        (Evaluation::Fail, Evaluation::Pass, Evaluation::TempError, Evaluation::None);
    assert_eq!(of(&[(pass, Policy::Reject), (fail, Policy::Reject)]), rejected());
    assert_eq!(of(&[(temp, Policy::Reject), (fail, Policy::Reject)]), rejected());
    assert_eq!(of(&[(pass, Policy::Reject), (temp, Policy::Reject)]), Err(UNAVAILABLE));
    assert_eq!(of(&[(pass, Policy::Reject), (fail, Policy::None)]), Ok(DmarcVerdict::Fail));
    assert_eq!(of(&[(pass, Policy::Reject), (none, Policy::None)]), Ok(DmarcVerdict::None));
    assert_eq!(of(&[]), Ok(DmarcVerdict::None));
}

#[test]
fn only_a_chain_of_trusted_sealers_outweighs_a_policy() {
    let chain = |sealers: &[&str], first: &[&str], result| Chain {
        state: ArcState::Pass(1),
        result,
        sealers: sealers.iter().map(|name| domain(name)).collect(),
        first_says_pass: first.iter().map(|name| domain(name)).collect(),
    };
    let judged = |chain| dmarc(DmarcMode::Enforce, &Findings { chain, ..failing(Policy::Reject) });
    let author = ["author.example"];
    assert_eq!(judged(chain(&["list.example"], &author, ChainResult::Pass)), Ok(DmarcVerdict::Fail));
    for refused in [
        chain(&["list.example", "evil.example"], &author, ChainResult::Pass),
        chain(&["evil.example"], &author, ChainResult::Pass),
        chain(&["list.example"], &["other.example"], ChainResult::Pass),
        chain(&["list.example"], &[], ChainResult::Pass),
        chain(&["list.example"], &author, ChainResult::Fail),
        chain(&[], &author, ChainResult::Pass),
    ] {
        assert_eq!(judged(refused.clone()), rejected(), "{refused:?}");
    }
    // A key of theirs that DNS does not give for now could turn the refusal; nobody else's could.
    assert_eq!(judged(chain(&["list.example"], &author, ChainResult::TempError)), Err(UNAVAILABLE));
    assert_eq!(judged(chain(&["evil.example"], &author, ChainResult::TempError)), rejected());
}

#[test]
fn require_pass_wants_spf_or_any_signature() {
    assert_eq!(pass(&nothing()), Err(Refusal::Unauthenticated { explanation: None }));
    assert_eq!(pass(&with_spf(nothing(), SpfVerdict::Pass)), Ok(()));
    assert_eq!(pass(&with_signature(nothing(), signature(Outcome::Pass, "other.example"))), Ok(()));
    for verdict in [SpfVerdict::Fail, SpfVerdict::SoftFail, SpfVerdict::Neutral, SpfVerdict::PermError] {
        assert_eq!(pass(&with_spf(nothing(), verdict)), Err(Refusal::Unauthenticated { explanation: None }));
    }
    for outcome in [Outcome::Fail("x"), Outcome::Policy("x"), Outcome::PermError("x")] {
        assert_eq!(
            pass(&with_signature(nothing(), signature(outcome, "other.example"))),
            Err(Refusal::Unauthenticated { explanation: None })
        );
    }
    // A missing answer would decide here.
    assert_eq!(pass(&with_spf(nothing(), SpfVerdict::TempError)), Err(UNAVAILABLE));
    let unknown = signature(Outcome::TempError, "other.example");
    assert_eq!(pass(&with_signature(nothing(), unknown.clone())), Err(UNAVAILABLE));
    // And not where something else passes.
    assert_eq!(pass(&with_signature(with_spf(nothing(), SpfVerdict::Pass), unknown)), Ok(()));
    let mut of_helo_alone = nothing();
    of_helo_alone.early.spf_helo = SpfVerdict::Pass;
    assert_eq!(pass(&of_helo_alone), Err(Refusal::Unauthenticated { explanation: None }));
}

#[test]
fn require_pass_takes_a_confirmed_helo_of_a_null_sender() {
    let null = Findings { reverse_path: ReversePath::Null, ..nothing() };
    assert_eq!(pass(&null), Err(Refusal::Unauthenticated { explanation: None }));
    assert_eq!(pass(&with_spf(null.clone(), SpfVerdict::Pass)), Ok(()));
    let confirmed = |name: &str, mut findings: Findings| {
        findings.early.confirmed_names = vec![domain(name)];
        findings.early.iprev = IprevVerdict::Pass;
        findings
    };
    assert_eq!(pass(&confirmed("mx.sender.example", null.clone())), Ok(()));
    assert_eq!(
        pass(&confirmed("other.example", null.clone())),
        Err(Refusal::Unauthenticated { explanation: None })
    );
    assert_eq!(
        pass(&confirmed("mx.sender.example", nothing())),
        Err(Refusal::Unauthenticated { explanation: None })
    );
}

#[test]
fn rfc8601_2_7_3_reverse_dns_that_does_not_answer_is_no_pass() {
    let mut unknown = Findings { reverse_path: ReversePath::Null, ..nothing() };
    unknown.early.iprev = IprevVerdict::TempError;
    for spf in [SpfVerdict::None, SpfVerdict::SoftFail, SpfVerdict::Fail] {
        assert_eq!(pass(&with_spf(unknown.clone(), spf)), Err(UNAVAILABLE));
    }
    assert_eq!(pass(&with_spf(unknown.clone(), SpfVerdict::Pass)), Ok(()));
    // Nobody but a null sender needs reverse DNS.
    unknown.reverse_path = nothing().reverse_path;
    assert_eq!(pass(&unknown), Err(Refusal::Unauthenticated { explanation: None }));
}

#[test]
fn rfc7505_4_2_a_sender_that_takes_no_mail_is_refused() {
    let mut findings = with_spf(nothing(), SpfVerdict::Pass);
    findings.early.sender_null_mx = true;
    assert_eq!(pass(&findings), Err(Refusal::SenderNullMx(domain("sender.example"))));
    assert_eq!(pass(&Findings { reverse_path: ReversePath::Null, ..findings }), Ok(()));
}
