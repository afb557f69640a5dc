"""pyspf over the zone of one case, as it is and with its known deviations from RFC 7208 mended one by one.

A difference is explained by deviations when pyspf with these mended says what we say. DEVIATIONS are pyspf's faults: the RFC
settles them. READINGS are what the RFC leaves open, or may be read in two ways: OURS names those that we read unlike pyspf."""
import contextlib
import ipaddress
import itertools
import re

import spf

from worlds import askable

DEVIATIONS = {
    "at-sign": "takes the domain of the sender from behind the first @, not the last (RFC 5321 §4.1.2, RFC 7208 §4.1)",
    "record-end": "lets a line feed end `v=spf1` when records are selected (RFC 7208 §4.5)",
    "grammar": "accepts terms that the ABNF does not have (RFC 7208 §4.6, §7.1): control characters, macros with unknown "
               "delimiters, trailing letters, zero digits or no closing brace",
    "percent": "takes `%%` at the end of a term for a lone %, and passes over a lone % behind `%%` (RFC 7208 §7.1)",
    "modifier-case": "knows `redirect` and `exp` in lower case only (RFC 7208 §4.6.1: names are case-insensitive)",
    "modifier-repeat": "refuses an unknown modifier that is repeated (RFC 7208 §6: ignored however often)",
    "reverse-case": "knows the transformer `r` in lower case only (RFC 5234 §2.3)",
    "rejoin": "rejoins the parts of o, d, i, p, v and h with the delimiters they were split at (RFC 7208 §7.3: with `.`)",
    "length": "cuts at most one label from a name of over 253 octets (RFC 7208 §7.3: until it fits)",
    "ptr-errors": "makes DNS errors of ptr and %{p} a temperror (RFC 7208 §5.5, §7.3: no match, skipped, `unknown`)",
    "late": "counts redirect=, expands %{p}, fetches exp= and refuses an include of itself when it parses the record "
            "(RFC 7208 §4.6.4, §5.2, §6.1, §6.2: when a term is evaluated)",
    "p-domain": "keeps the %{p} of the first domain for all others, and compares names by case (RFC 7208 §7.3)",
}
READINGS = {
    "void-terms": "void look-ups counted by term, not by query (RFC 7208 §4.6.4)",
    "void-targets": "void look-ups counted for a term's own name, not for hosts behind MX and PTR nor for %{p} (RFC 7208 §4.6.4)",
    "void-family": "no address of the client's family beside one of the other is not a void look-up (RFC 7208 §4.6.4)",
    "mx-order": "MX hosts compared as they are looked up, not when all have been (RFC 7208 §5.4)",
    "unaskable": "a name that cannot be asked for is a permerror, not no match (RFC 7208 §4.8)",
    "empty": "an empty name is no match, not a permerror (RFC 7208 §4.8)",
    "exp-letters": "%{c}, %{r}, %{t} in an unknown modifier are ignored with it (RFC 7208 §6, §7.2)",
    "quotes": "%{l} and %{s} without the quotes of a quoted local part (RFC 7208 §7.2, RFC 5321 §4.1.2)",
    "p-counts": "%{p} counted as a look-up of its own beside its term (RFC 7208 §4.6.4)",
}
MENDS = DEVIATIONS | READINGS
OURS = frozenset({"void-terms", "void-targets", "mx-order"})  # the readings that our evaluator takes


def _term(letters):
    """A term by the ABNF of RFC 7208 §12, its macros with these letters; the address of ip6 is the group `six`."""
    macro = rf"(?:%\{{[{letters}](?!0+\D)\d*r?[.+,/_=-]*\}}|%[%_-])"
    string = rf"(?:{macro}|[!-$&-~])*"
    name = rf"{string}(?:\.(?:[0-9a-z]*[a-z][0-9a-z]*|[0-9a-z]+-[0-9a-z-]*[0-9a-z])\.?|{macro})"
    octet, four, six = r"(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])", r"/(?:\d|[12]\d|3[0-2])", r"/(?:\d|[1-9]\d|1[01]\d|12[0-8])"
    directive = rf"[+?~-]?(?:all|(?:include|exists):{name}|(?:a|mx)(?::{name})?(?:{four})?(?:/{six})?|ptr(?::{name})?" \
        rf"|ip4:{octet}(?:\.{octet}){{3}}(?:{four})?|ip6:(?P<six>[0-9a-f:.]+)(?:{six})?)"
    modifier = rf"(?:redirect|exp)={name}|(?!(?:redirect|exp)=)[a-z][a-z0-9_.-]*={string}"
    return re.compile(f"{directive}|{modifier}", re.ASCII | re.IGNORECASE)


TERM, TERM_WITH_EXP_LETTERS = _term("slodiphv"), _term("slodiphvcrt")
MODIFIER = re.compile(r"[a-z][a-z0-9_.-]*=", re.IGNORECASE)
LONE_PERCENT = re.compile(r"(?<!%)(?:%%)*%(?![{%_-])")


def well_formed(term, pattern=TERM):
    found = pattern.fullmatch(term)
    if not found or not found["six"]:
        return bool(found)
    with contextlib.suppress(ValueError):
        return bool(ipaddress.IPv6Address(found["six"]))
    return False


class Resolver:
    """Answers pyspf's questions from a case's zone as a recursive resolver does: CNAMEs are followed, SERVFAIL is an error."""

    def __init__(self, zone):
        self.records = {}
        for name, kind, *value in zone:
            self.records.setdefault(name.lower(), []).append((kind, *value))

    def __call__(self, name, qtype, strict=True, timeout=None):
        held, at = [], name.lower()
        for _ in range(8):
            held = self.records.get(at, [])
            if ("SERVFAIL",) in held:
                raise spf.TempError("SERVFAIL")
            aliases = [value for kind, *value in held if kind == "CNAME"]
            if not aliases:
                break
            at = aliases[0][0].lower()
        return [((name, qtype), self.rdata(*record)) for record in held if record[0] == qtype]

    @staticmethod
    def rdata(kind, value):
        return tuple(s.encode("latin-1") for s in value) if kind == "TXT" else tuple(value) if kind == "MX" else value


class Mended(spf.query):
    """pyspf's evaluation with these mends; with none it is pyspf's own."""

    def __init__(self, case, mends):
        super().__init__(**arguments(case))
        self.mends = mends
        self.sub_question, self.term_is_void, self.validated = False, False, None
        if "at-sign" in mends:
            self.l, self.o = case["local"], case["domain"]
            self.d = self.o
        if "quotes" in mends and self.l.startswith('"'):
            self.l = re.sub(r"\\(.)", r"\1", case["local"][1:-1])
            self.s = f"{self.l}@{self.o}"

    # records and terms

    def check0(self, record, recursion):
        if not record:
            return super().check0(record, recursion)
        version, *terms = filter(None, record.split(" "))
        grammar = TERM_WITH_EXP_LETTERS if "exp-letters" in self.mends else TERM
        valid = all(well_formed(term, grammar if is_unknown(term) else TERM) for term in terms)
        if "grammar" in self.mends and not valid:
            raise spf.PermError("syntax error")
        if "modifier-case" in self.mends:
            terms = [MODIFIER.sub(lambda name: name[0].lower(), term, count=1) if MODIFIER.match(term) else term for term in terms]
        if "modifier-repeat" in self.mends:
            terms = [term for place, term in enumerate(terms) if not is_unknown(term) or modifier(term) not in map(modifier, terms[:place])]
        if "late" in self.mends and valid and version.lower() == "v=spf1":
            return self.check_in_turn(terms)
        return super().check0(" ".join([version, *terms]), recursion)

    def check_in_turn(self, terms):
        """Each term expanded, counted and evaluated only when those before it have not matched; exp= has no part in a result."""
        names = [modifier(term) for term in terms if modifier(term)]
        if len(names) > len(set(names)):
            raise spf.PermError("repeated modifier")
        for term in terms:
            if modifier(term):
                continue
            self.term_is_void = False
            result = super().check0(f"v=spf1 {term}", 0)
            if self.mechanism:
                return result
        for term in terms:
            if modifier(term) == "redirect=":
                self.term_is_void = False
                self.check_lookups()
                target = self.expand_domain(term.removeprefix("redirect="))
                record = self.dns_spf(target)
                if not record:
                    raise spf.PermError("redirect without a record")
                return self.check1(record, target, 0)
        return "neutral", 250, ""

    def expand_domain(self, arg):
        name = super().expand_domain(arg)
        if "unaskable" in self.mends and name and not askable(name):
            raise spf.PermError("not a domain name")
        return "." if "empty" in self.mends and not name else name

    def expand(self, s, stripdot=True):
        if "reverse-case" in self.mends:
            s = re.sub(r"(%\{[a-z]\d*)R", r"\1r", s, flags=re.IGNORECASE)
        name = super().expand(s, stripdot)
        while "length" in self.mends and stripdot and len(name) > 253 and "." in name:
            name = name.split(".", 1)[1]
        return name

    # questions

    def dns(self, name, qtype, cnames=None, ignore_void=False):
        answer = super().dns(name, qtype, cnames, ignore_void=True)
        if not answer and not ignore_void and askable(name) and not self.is_excused(name, qtype):
            self.term_is_void = True
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("void look-ups")
        return answer

    def is_excused(self, name, qtype):
        """Whether a void look-up does not count."""
        if "void-targets" in self.mends and self.sub_question or "void-terms" in self.mends and self.term_is_void:
            return True
        return "void-family" in self.mends and qtype in ("A", "AAAA") and bool(super().dns(name, "AAAA" if qtype == "A" else "A", ignore_void=True))

    @contextlib.contextmanager
    def sub_questions(self):
        before, self.sub_question = self.sub_question, True
        try:
            yield
        finally:
            self.sub_question = before

    def host_addresses(self, host):
        with self.sub_questions():
            return self.dns_a(host, self.A)

    def dns_mx(self, domainname):
        hosts = sorted(self.dns(domainname, "MX"))
        if len(hosts) > spf.MAX_MX:
            raise spf.PermError("MX hosts")
        addresses = (address for _, host in hosts for address in self.host_addresses(host))
        return addresses if "mx-order" in self.mends else list(addresses)

    def cidrmatch(self, ipaddrs, n):
        return any(super(Mended, self).cidrmatch([address], n) for address in ipaddrs)

    def validated_ptrs(self):
        settled = spf.TempError if "ptr-errors" in self.mends else ()
        names = []
        with contextlib.suppress(settled):
            for name in self.dns_ptr(self.i)[:spf.MAX_PTR]:
                with contextlib.suppress(settled):
                    if self.cidrmatch(self.host_addresses(name), self.cidrmax):
                        names.append(name)
        return names

    def getp(self):
        if "p-counts" in self.mends:
            self.check_lookups()
        with self.sub_questions():
            if "p-domain" not in self.mends:
                return super().getp()
            if self.validated is None:
                self.validated = [name.lower() for name in self.validated_ptrs()]
        domain = self.d.lower()
        self.p = min(self.validated, key=lambda name: (name != domain, not name.endswith(f".{domain}")), default="unknown")
        return self.p


def modifier(term):
    """The name of a modifier with its `=`; nothing for a directive."""
    found = MODIFIER.match(term)
    return found[0] if found else ""


def is_unknown(term):
    return bool(modifier(term)) and modifier(term).lower() not in ("redirect=", "exp=")


def arguments(case):
    return {"i": case["ip"], "s": f"{case['local']}@{case['domain']}", "h": case["helo"], "strict": True}


def verdict(case, mends=frozenset()):
    """pyspf's result for a case, with these deviations mended."""
    spf.DNSLookup = Resolver(case["zone"])
    patches = {"JOINERS": dict.fromkeys("slodiphv", "."), "RE_INVALID_MACRO": LONE_PERCENT, "RE_SPF": re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)}
    chosen = {name: patches[name] for mend, name in {"rejoin": "JOINERS", "percent": "RE_INVALID_MACRO", "record-end": "RE_SPF"}.items() if mend in mends}
    kept = {name: getattr(spf, name) for name in chosen}
    vars(spf).update(chosen)
    try:
        query = Mended(case, mends) if mends else spf.query(**arguments(case))
        return query.check()[0]
    finally:
        vars(spf).update(kept)


def right(case):
    """What the RFC says, with our readings of it, as far as pyspf with all its deviations mended can tell."""
    return verdict(case, {*DEVIATIONS, *OURS})


def explanation(case):
    """The deviations and readings that lie between pyspf's result and the right one."""
    result, mends = right(case), {*DEVIATIONS, *OURS}
    for mend in MENDS:
        if verdict(case, mends - {mend}) == result:
            mends.discard(mend)
    return [mend for mend in MENDS if mend in mends]


def other_readings(case, result):
    """The fewest readings, taken the other way than we say in OURS, that give this result; None when it takes more than two."""
    for count in (1, 2):
        for readings in itertools.combinations(READINGS, count):
            if verdict(case, {*DEVIATIONS, *OURS.symmetric_difference(readings)}) == result:
                return readings
    return None
