"""All checks, each named as the sentence that it proves: the functions of these modules that take the world alone."""
import inspect

import chart_checks
import pod_checks
import secret_checks


def checks_of(module):
    functions = [each for each in vars(module).values() if inspect.isfunction(each) and each.__module__ == module.__name__]
    return [each for each in functions if list(inspect.signature(each).parameters) in (["world"], ["_"])]


ALL = [check for module in (chart_checks, pod_checks, secret_checks) for check in checks_of(module)]
