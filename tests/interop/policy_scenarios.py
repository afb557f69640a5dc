"""What the node does with destinations that have policies. DANE: RFC 7672; MTA-STS: RFC 8461."""
import policies
from client import message, send
from policies import DANE, RESOLVER, STS, Policies
from tools import Skip
from world import ISOLATED, Node


def stage(world):
    """The destinations, and a node that asks the validating resolver; made when first needed."""
    if not ISOLATED:
        raise Skip("policies are fetched from port 443")
    if not hasattr(world, "policies"):
        world.policies = Policies(world)
        node = Node(world, dns={"servers": [f"{RESOLVER}:53"]}, delivery={"on_tempfail": "relay", "in_session_timeout": "20s"})
        for zone, kinds in (("dane", DANE), ("sts", STS)):
            for name in kinds:
                route(node, f"{name}-{zone}", f"bob@{name}.{zone}.test")
        route(node, "stale", "bob@stale.test")
        world.policies.node = node
    return world.policies


def route(node, alias, destination):
    node.control("destination", "add", destination, "--verified")
    node.control("rule", "add", "customer.test", "--to", alias, "--forward", destination)


def offered(world, alias):
    """Sends a message to an alias: its identity, and the reply."""
    sent = message(world, f"{alias}@customer.test")
    return sent.id, send(world.policies.node, sent.octets, f"{alias}@customer.test")


def arrives(world, alias, address):
    identity, reply = offered(world, alias)
    assert reply.code == 250, f"wanted 250, heard {reply}"
    return world.policies.hosts[address].version(identity)


def goes_nowhere(world, *aliases):
    """Offered to nobody, and kept: by us, or by the sender where nothing may be queued for it."""
    for alias in aliases:
        identity, reply = offered(world, alias)
        assert reply.code == 451 or "Queued" in reply.text, f"{alias}: wanted 451 or a place in the queue, heard {reply}"
        for host in world.policies.hosts.values():
            assert not any(identity.encode() in octets for octets, _ in host.taken), f"{alias} was delivered"


def counted(world, result):
    return world.policies.node.metric("postroad_smtp_tls_connections_total", direction="outbound", result=result)


def dane_a_host_that_a_signed_tlsa_record_names_gets_the_mail(world):
    stage(world)
    assert world.policies.dig("_25._tcp.mx.pass.dane.test", "TLSA") == ("NOERROR", ["qr", "rd", "ra", "ad"])
    before = counted(world, "dane")
    assert arrives(world, "pass-dane", policies.VALID) == "TLSv1.3"
    assert counted(world, "dane") > before


def dane_a_host_whose_own_certificate_is_named_gets_the_mail_though_it_is_expired(world):
    stage(world)
    assert arrives(world, "old-dane", policies.EXPIRED) == "TLSv1.3"


def dane_a_certificate_for_another_name_and_an_expired_one_below_a_named_authority_get_nothing(world):
    stage(world)
    goes_nowhere(world, "mismatch-dane", "expired-dane")


def dane_a_host_that_no_longer_offers_starttls_gets_nothing(world):
    stage(world)
    goes_nowhere(world, "plain-dane")


def dane_a_forged_record_and_a_zone_with_expired_signatures_get_nothing(world):
    stage(world)
    assert world.policies.dig("_25._tcp.mx.forged.dane.test", "TLSA")[0] == "SERVFAIL"
    assert world.policies.dig("stale.test", "MX")[0] == "SERVFAIL"
    goes_nowhere(world, "forged-dane", "stale")


def dane_records_that_smtp_cannot_use_still_demand_tls(world):
    stage(world)
    assert arrives(world, "unusable-dane", policies.MISMATCH) == "TLSv1.3"


def mta_sts_a_host_that_the_policy_names_gets_the_mail(world):
    stage(world)
    before = counted(world, "mta_sts")
    assert arrives(world, "pass-sts", policies.VALID) == "TLSv1.3"
    assert counted(world, "mta_sts") > before


def mta_sts_a_certificate_for_another_name_and_a_host_that_the_policy_does_not_name_get_nothing(world):
    stage(world)
    goes_nowhere(world, "mismatch-sts", "other-sts")


def mta_sts_an_expired_certificate_gets_nothing(world):
    stage(world)
    goes_nowhere(world, "expired-sts")


def mta_sts_a_host_that_no_longer_offers_starttls_gets_nothing_with_the_policys_host_gone_too(world):
    stage(world)
    goes_nowhere(world, "plain-sts", "gone-sts")
    world.policies.served["mta-sts.gone.sts.test"] = None
    goes_nowhere(world, "gone-sts")


def mta_sts_a_policy_in_testing_stops_nothing(world):
    stage(world)
    assert arrives(world, "testing-sts", policies.MISMATCH) == "TLSv1.3"


ALL = [function for name, function in list(globals().items()) if name.startswith(("dane_", "mta_sts_"))]
