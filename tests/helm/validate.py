"""Holds objects against Kubernetes' own schemas: run by the Python of either validator.

Standard input is JSON, [[version, object, what it is called]]; a line is printed for each that is refused. Kinds of custom
resources have no schema here, and are taken as they are."""
import functools
import json
import sys

import kubernetes_validate

CUSTOM = {"ServiceMonitor", "PrometheusRule", "Certificate", "Issuer", "CiliumEgressGatewayPolicy"}


def main():
    # The definitions of a version are some megabytes, which it reads anew for each object.
    utils = getattr(kubernetes_validate, "utils", kubernetes_validate)
    if hasattr(utils, "schema_contents"):
        utils.schema_contents = functools.lru_cache(None)(utils.schema_contents)
    for version, document, name in json.load(sys.stdin):
        if document["kind"] in CUSTOM:
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:  # one kind in each of the two versions, without a common base
            where = ".".join(map(str, getattr(error, "absolute_path", [])))
            print(f"{name} at {version}: {where} {getattr(error, 'message', error)}")


if __name__ == "__main__":
    main()
