"""What the chart refuses: what is set over the values of a first install, and a piece of the error."""

ONE = {"hostname": "amir.mx.relay.example"}
TWO = [ONE, {"hostname": "isaac.mx.relay.example"}]
PROXY = "mx.proxyProtocol"

REFUSALS = [
    # words that are not there
    ({"nosuch": 1}, "nosuch"),
    ({"mx.nosuch": 1}, "nosuch"),
    ({"mx.service.nosuch": 1}, "nosuch"),
    ({"mx.hosts": [{**ONE, "nosuch": 1}]}, "nosuch"),
    ({"persistence.nosuch": 1}, "nosuch"),
    ({"public.ingress.nosuch": 1}, "nosuch"),
    ({"monitoring.serviceMonitor.nosuch": 1}, "nosuch"),
    # what is mandatory
    ({"service.domain": ""}, "domain"),
    ({"service.postmaster": ""}, "postmaster"),
    ({"service": None}, "service"),
    ({"mx.hosts": []}, "hosts"),
    ({"mx.hosts": None}, "hosts"),
    ({"mx": None}, "mx"),
    ({"mx.hosts": [{"name": "amir"}]}, "hostname"),
    ({"dkim.selector": None}, "selector"),
    # what is no such thing
    ({"service.domain": "relay"}, "domain"),
    ({"service.domain": "https://relay.example"}, "domain"),
    ({"service.postmaster": "ops"}, "postmaster"),
    ({"service.outboundPrefixes": ["192.0.2.1-9"]}, "outboundPrefixes"),
    ({"mx.hosts": [{"hostname": "amir"}]}, "hostname"),
    ({"mx.hosts": [{**ONE, "name": "Amir Mx"}]}, "name"),
    ({"mx.hosts": [{**ONE, "preference": 65536}]}, "preference"),
    ({"mx.hosts": [{**ONE, "sources": [{"address": "192.0.2.25"}]}]}, "hostname"),
    ({"mx.hosts": [{"hostname": f"mx{i}.relay.example"} for i in range(10)]}, "hosts"),
    ({"mx.hosts": [ONE, {"hostname": "amir.mx.other.example"}]}, "amir"),
    ({"mx.hosts": [ONE, {**ONE, "name": "other"}]}, "amir.mx.relay.example"),
    ({"mx.exposure": "internet"}, "exposure"),
    ({"mx.service.externalTrafficPolicy": "local"}, "externalTrafficPolicy"),
    ({"mx.service.ipFamilyPolicy": "Both"}, "ipFamilyPolicy"),
    ({"dkim.selector": "a b"}, "selector"),
    ({"image.digest": "sha256:12"}, "digest"),
    ({"image.pullPolicy": "Sometimes"}, "pullPolicy"),
    ({"persistence.size": "abc"}, "size"),
    ({"resources": {"requests": {"cpu": "abc"}}}, "cpu"),
    ({"podLabels": {"app.kubernetes.io/name": "other"}}, "podLabels"),
    # PROXY
    ({f"{PROXY}.enabled": True}, "trustedCidrs"),
    ({f"{PROXY}.enabled": True, f"{PROXY}.trustedCidrs": ["0.0.0.0/0"]}, "trustedCidrs"),
    ({f"{PROXY}.enabled": True, f"{PROXY}.trustedCidrs": ["::/0"]}, "trustedCidrs"),
    ({f"{PROXY}.enabled": True, f"{PROXY}.trustedCidrs": ["10.0.0.0/8", "::/00"]}, "trustedCidrs"),
    ({f"{PROXY}.enabled": True, f"{PROXY}.trustedCidrs": ["anybody"]}, "trustedCidrs"),
    # Secrets that nobody makes
    ({"secrets.create": False}, "existingSecret"),
    ({"secrets.create": False, "dkim.existingSecret": "a"}, "existingSecret"),
    ({"secrets.create": False, "dkim.existingSecret": "a", "srs.existingSecret": "b", "mx.hosts": TWO}, "existingSecret"),
    ({"secrets.create": False, "dkim.existingSecret": "a", "srs.existingSecret": "b", "mx.exposure": "hostNetwork"},
     "existingSecret"),
    ({"tls.certManager.enabled": True}, "name"),
    # the node file's keys that other values say
    ({"config": {"node": {"name": "x"}}}, "config"),
    ({"config": {"service": {"domain": "x.example"}}}, "config.service.domain"),
    ({"config": {"smtp": {"listen": ["0.0.0.0:25"]}}}, "config.smtp.listen"),
    ({"config": {"smtp": {"trusted_proxies": ["0.0.0.0/0"]}}}, "config.smtp.trusted_proxies"),
    ({"config": {"delivery": {"source": []}}}, "config.delivery.source"),
    ({"config": {"cluster": {"peers": []}}, "mx.hosts": TWO}, "config.cluster.peers"),
    ({"config": {"cluster": {"voters": 5}}}, "config.cluster"),
    ({"config": {"limits": 5}}, "limits"),
    ({"config": {"nosection": {"x": 1}}}, "nosection"),
    # what excludes each other
    ({"cluster.existingSecret": "a", "cluster.certManager.enabled": True, "mx.hosts": TWO}, "existingSecret"),
    ({"tls.existingSecret": "a", "tls.certManager.enabled": True, "tls.certManager.issuerRef.name": "b"}, "existingSecret"),
    # what has no effect
    ({"mx.exposure": "hostNetwork", "networkPolicy.egress.enabled": True}, "hostNetwork"),
    ({"mx.exposure": "hostNetwork", "egressGateway.cilium": {"enabled": True, "nodeSelector": {"a": "b"}}}, "hostNetwork"),
    ({"egressGateway.cilium.enabled": True}, "nodeSelector"),
    ({"public.enabled": False, "public.ingress.enabled": True}, "ingress"),
]
