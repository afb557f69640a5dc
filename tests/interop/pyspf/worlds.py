"""Generated SPF worlds: a client, an envelope, and the zone that they are judged by.

Each world has names under a suffix of its own and a client address of its own, so that any number of them fit into one DNS
server. The grammar is RFC 7208's: mostly valid records, so that all results come out in good numbers, then what people and
attackers get wrong. Nothing here says what the right result is."""
import ipaddress
import itertools
import random
import re

LOCAL_PARTS = {
    "ann": 8, "strong-bad": 4, "Ann.Lee": 3, "bounce+17=bob": 3, "o'neil": 2, "a/b": 2, "a.b-c+d_e": 3, "=x=": 1, "x%y": 1,
    "!#$&*": 1, "-lead": 1, "trail-": 1, "a,b": 1, "y" * 64: 1, ".".join(["z" * 30] * 9): 0.5, '"a b"': 1, '"x@y"': 0.3, '"q..q"': 0.5,
}
VERSIONS = ["v=spf10 ", "v=spf1\t", "v=spf 1 ", " v=spf1 ", "spf2.0/pra ", "v=spf1.0 ", "v=spf1,", "v=spf1\n", "v = spf1 ", "\"v=spf1 "]
MUTANTS = "%{}:/=.,-~+?_0129aR l!\"" + "\t\r\n\0\x7f\xe9"
UNKNOWN = ["foo=bar", "ra=%{d}", "x-y.z_1=%{l}/%{i}", "default=pass", "op=auth.trusted", "m=", "a=%%", "n=%{t}", "moo=%{c}", "foo=%{d",
           "ip4=1.2.3.4", "q=%{dR}", "foo=%x", "p=%{p}"]
BROKEN = ["moo", "all:x.test", "ip4", "ip4:1.2.3", "ip4:1.2.3.4.5", "ip4:1.2.3.256", "ip4:01.2.3.4", "1.2.3.4", "ip6:2001:db8", "ip6:::1::",
          "ip6:1:2:3:4:5:6:7", "a:", "a:x", "a:1.2.3.4", "exists", "exists:", "include", "mx:/24", "ptr/24", "a:x.test:25", "-", "=x", "-exp=a.b",
          "a:x..", "a:%{d", "a:%{d.test", "a:%{x}.test", "a:%{d0}", "a:%{d2x}.test", "a:%{d;}", "exists:%{i}%", "exists:%%%d.test", "redirect=",
          "a:x.test/", "include:x.test/24", "exp="]
GOOD_IP6 = ["::", "::1", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "::ffff:10.0.0.1", "2001:DB8::1", "1:2:3:4:5:6:1.2.3.4", "1::8"]


def askable(name):
    """Whether the name can be asked for: no empty label, none over 63 octets, no more than 253 in all."""
    return len(name) <= 253 and all(0 < len(label) < 64 for label in name.removesuffix(".").split("."))


def expand(text, values):
    """RFC 7208 §7.3 without the URL escapes; None for what it does not define."""
    macro = r"%(?:\{([slodiphvSLODIPHV])(\d*)([rR]?)([.+,/_=-]*)\}|[%_-])"

    def part(found):
        letter, count, reverse, delimiters = found.groups()
        if not letter:
            return {"%": "%", "_": " ", "-": "%20"}[found[0][1]]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", values[letter.lower()])
        parts = parts[::-1] if reverse else parts
        return ".".join(parts[-int(count):] if count else parts)

    if "%" in re.sub(macro, "", text) or re.search(r"%\{.0+\D", text):
        return None
    name = re.sub(macro, part, text).removesuffix(".")
    while len(name) > 253 and "." in name:
        name = name.split(".", 1)[1]
    return name


class World:
    def __init__(self, seed, number):
        self.random = random.Random(f"{seed}/{number}")
        self.id, self.labels, self.zone, self.domains = f"c{number:06d}", itertools.count(1), [], []
        self.suffix = f"{self.id}.test"
        six = self.chance(0.35)
        self.client = ipaddress.ip_address((0x20010DB8 << 96) + (number << 64) + 0x15 if six else (10 << 24) + number * 16 + 5)
        self.local = self.choose(LOCAL_PARTS)
        self.helo = self.choose({f"mail.{self.suffix}": 10, f"Mail-1.{self.suffix}": 3, "myhost": 1, "[10.0.0.1]": 1, "a..b": 0.5, "-": 0.5,
                                 "x" * 70 + ".test": 0.5, f"under_score.{self.suffix}": 1, f"%{{d}}.{self.suffix}": 0.5})
        self.domain = self.choose({self.suffix: 30, f"mail.sub-1.{self.suffix}": 5, self.suffix.upper(): 1, f"a..{self.suffix}": 0.3,
                                   "x" * 64 + f".{self.suffix}": 0.3, ".".join(["d" * 60] * 3 + [self.suffix]): 0.5})
        self.reversed, self.validated = [], "unknown"
        if self.chance(0.4):
            self.reverse_names()
        self.mutations = self.choose({0: 80, 1: 17, 2: 3})
        self.publish(self.domain, 0)

    def case(self):
        mapped = self.client.version == 4 and self.chance(0.12)
        return {"id": self.id, "ip": f"::ffff:{self.client}" if mapped else str(self.client), "helo": self.helo, "local": self.local,
                "domain": self.domain, "zone": self.zone}

    def chance(self, probability):
        return self.random.random() < probability

    def choose(self, weights):
        return self.random.choices(list(weights), list(weights.values()))[0]

    # names and what they have

    def name(self):
        return f"n{next(self.labels)}.{self.suffix}"

    def address(self, kind):
        """An address that is the client's, near it (some low bit differs), or far from it."""
        bits = self.client.max_prefixlen
        flip = {"client": 0, "near": 1 << self.random.randrange(bits // 4), "far": 1 << bits - 4}[kind]
        return ipaddress.ip_address(int(self.client) ^ flip) if bits == 32 else ipaddress.IPv6Address(int(self.client) ^ flip)

    def add_address(self, name, kind):
        address = self.address(kind)
        self.zone.append([name, "A" if address.version == 4 else "AAAA", str(address)])

    def add_other_family(self, name):
        self.zone.append([name, "AAAA", "2001:db8:ffff::1"] if self.client.version == 4 else [name, "A", "10.255.255.1"])

    def host(self, name=None, calm=False):
        """A name with addresses, or with what else a name may have; `calm`: with an address that is not the client's."""
        name = name or self.name()
        kind = "far" if calm else self.choose({"client": 20, "near": 20, "far": 30, "other": 3, "both": 5, "void": 5, "text": 2, "servfail": 2, "cname": 4})
        if kind in ("client", "near", "far"):
            self.add_address(name, kind)
        elif kind == "both":
            self.add_address(name, self.choose({"client": 1, "near": 1}))
            self.add_other_family(name)
        elif kind == "other":
            self.add_other_family(name)
        elif kind == "text":
            self.zone.append([name, "TXT", ["no address"]])
        elif kind == "servfail":
            self.zone.append([name, "SERVFAIL"])
        elif kind == "cname":
            self.zone.append([name, "CNAME", self.host()])
        return name

    def mx_target(self):
        name = self.name()
        count = self.choose({1: 8, 2: 6, 3: 2, 10: 1, 11: 1, 12: 0.5, 0: 0.7})
        hosts = [self.host(calm=count > 5 and self.chance(0.9)) for _ in range(count)]
        self.zone += [[name, "MX", [10 * place, host]] for place, host in enumerate(hosts)]
        if not count and self.chance(0.4):
            self.zone.append([name, "MX", [0, "."]])
        return name

    def reverse_names(self):
        """PTR records of the client, and what their names have: of twelve one is the client's, before or behind the limit of ten."""
        pointer = self.client.reverse_pointer
        if self.chance(0.04):
            self.zone.append([pointer, "SERVFAIL"])
            return
        count, confirmed = self.choose({1: 10, 2: 4, 3: 2, 12: 4}), self.random.choice([0, 9, 10])
        for place in range(count):
            label = self.choose({f"p{place}": 6, f"P{place}.ptr": 2, f"bad-p0.{place}": 0.5}) if place else self.choose({"p0": 5, "bad-p0": 1})
            name = f"{label}.{self.domain if askable(self.domain) and self.chance(0.2) else self.suffix}"
            self.reversed.append(name)
            if count > 5 and place == confirmed:
                self.add_address(name, "client")
            else:
                self.host(name, calm=count > 5)
        if self.chance(0.1) and askable(self.domain):
            self.reversed.append(self.domain)
            self.add_address(self.domain, "client")
        self.zone += [[pointer, "PTR", name] for name in self.reversed]
        confirmations = [[name, kind, str(self.client)] for name in self.reversed for kind in ("A", "AAAA")]
        self.validated = next((found[0] for found in confirmations if found in self.zone), "unknown")

    # terms

    def written(self, name, domain):
        """The name as a domain-spec at `domain`."""
        short = name.removesuffix(self.suffix)
        if domain == self.suffix and self.chance(0.3):
            name = short + self.choose({"%{d}": 5, "%{o}": 2, "%{D}": 1, "%{d2}": 2, "%{d9.}": 1, "%{dr.}": 0.2, "%{d2-}": 0.7})
        elif self.chance(0.1):
            name = self.choose({name.upper(): 1, name + ".": 1})
        return name

    def macro(self):
        letter = self.choose({"i": 4, "l": 4, "s": 2, "o": 1, "d": 2, "h": 2, "v": 1, "p": 0.3 if self.validated == "unknown" else 2, "t": 0.05, "c": 0.05})
        return "%{" + (letter.upper() if self.chance(0.1) else letter) + self.choose({"": 8, "1": 2, "2": 2, "127": 0.3}) \
            + self.choose({"": 3, "r": 2, "R": 0.1}) + self.choose({"": 8, "-": 2, ".": 1, "+-": 1, "=": 1, "/": 0.5, ",_": 0.5}) + "}"

    def macro_target(self, domain, kind):
        """A domain-spec with macros, whose name has an address more often than not."""
        parts = [self.choose({self.macro(): 9, "lit!eral": 1, "%%": 0.3, "a%_b": 0.3, "a%-b": 0.3}) for _ in range(self.choose({1: 5, 2: 3, 3: 1}))]
        end = self.choose({f"_m.{self.suffix}": 6, "_m.%{d}": 4, "_m.%{o2}": 1, "": 0.1, "%%": 0.05})
        text = self.choose({".": 8, "-": 1}).join(parts) + ("." + end if end else "")
        values = {"s": f"{self.local}@{self.domain}", "l": self.local, "o": self.domain, "d": domain, "h": self.helo, "p": self.validated,
                  "i": str(self.client) if self.client.version == 4 else ".".join(self.client.exploded.replace(":", "")),
                  "v": "in-addr" if self.client.version == 4 else "ip6"}
        name = expand(text, values)
        if name and askable(name) and name.lower().endswith(f".{self.suffix}") and self.chance(0.6):
            if kind == "exists":
                self.zone.append([name, "A", "127.0.0.2"])
            else:
                self.add_address(name, "client")
        return text

    def cidr(self, four=True, six=True):
        text = self.choose({"": 6, "/24": 1, "/28": 2, "/32": 1, "/0": 0.2, "/31": 0.5, "/33": 0.15, "/08": 0.05}) if four else ""
        return text + (("/" if four else "") + self.choose({"/64": 1, "/128": 1, "/0": 0.2, "/96": 1, "/129": 0.1}) if six and self.chance(0.25) else "")

    def target(self, domain, kind, name):
        if self.chance(0.12):
            return ""
        return ":" + (self.macro_target(domain, kind) if self.chance(0.15) else self.written(name(), domain))

    def mechanism(self, domain, depth):
        kind = self.choose({"a": 8, "mx": 6, "ip4": 7, "ip6": 5, "include": 9 if depth < 4 else 1, "exists": 5, "ptr": 3, "broken": 0.5})
        if kind == "broken":
            return self.random.choice(BROKEN)
        if kind == "ptr":
            name = self.random.choice(self.reversed or [self.suffix])
            return "ptr" + self.choose({"": 2, f":{self.suffix}": 1, f":{self.written(name, domain)}": 2, f":p0.{self.suffix}": 1, ":%{d}": 1, ":other.test": 1})
        if kind in ("ip4", "ip6"):
            six = kind == "ip6"
            same = (self.client.version == 6) == six
            network = self.address(self.choose({"client": 1, "near": 3, "far": 4})) if same else ("2001:db8:ffff::" if six else "192.0.2.0")
            if six and self.chance(0.1):
                network = self.random.choice(GOOD_IP6)
            return f"{kind}:{network}{self.cidr(four=not six, six=six)}"
        if kind == "exists":
            return "exists:" + (self.macro_target(domain, kind) if self.chance(0.8) else self.written(self.host(), domain))
        if kind == "include":
            return "include:" + self.policy_name(domain, depth)
        return kind + self.target(domain, kind, self.host if kind == "a" else self.mx_target) + self.cidr()

    def policy_name(self, domain, depth):
        """A domain-spec of a domain with a policy: a new one, or one of those that lead here."""
        if self.domains and self.chance(0.03):
            return self.written(self.random.choice(self.domains), domain)
        name = self.name()
        self.publish(name, depth + 1)
        return self.written(name, domain)

    # records

    def record(self, domain, depth):
        crowd = depth < 2 and self.chance(0.05)
        count = self.random.randint(8, 12) if crowd else self.choose({0: 2, 1: 6, 2: 6, 3: 4, 4: 2, 6: 1})
        voids = self.chance(0.3)
        terms = [f"a:v{next(self.labels)}.{self.suffix}" if voids and self.chance(0.4) and not crowd else
                 f"{self.choose({'a': 3, 'exists': 1})}:{self.host(calm=True)}" if crowd else self.mechanism(domain, depth) for _ in range(count)]
        terms = [self.choose({"": 12, "+": 1, "-": 2, "~": 2, "?": 2}) + term for term in terms]
        if self.chance(0.12) and depth < 4:
            terms.append(self.choose({"redirect=": 9, "Redirect=": 0.5}) + self.policy_name(domain, depth))
        if self.chance(0.65):
            terms.append(self.choose({"-": 5, "~": 4, "?": 2, "+": 1, "": 0.5}) + "all")
        if self.chance(0.08):
            name = self.name()
            self.zone.append([name, "TXT", [self.choose({"Not from %{i}, see http://%{d}/%{S}": 3, "broken %{": 1, "%{p}": 1})]])
            terms.insert(self.random.randint(0, len(terms)), f"exp={self.written(name, domain)}")
        if self.chance(0.1):
            unknown = self.random.choices(UNKNOWN, [6, 3, 3, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5], k=self.choose({1: 4, 2: 1}))
            terms = terms + unknown if self.chance(0.5) else unknown + terms
        if self.chance(0.015) and terms:
            terms.append(self.random.choice(terms))
        spaces = "  " if self.chance(0.04) else " "
        text = spaces.join([self.choose({"v=spf1": 30, "V=SPF1": 0.5, "v=Spf1": 0.3}), *terms]) + (" " if self.chance(0.04) else "")
        return text.upper() if self.chance(0.01) else text

    def mutated(self, text):
        place = self.random.randrange(3, len(text) + 1)
        mutant = text[:place] + self.choose({"": 1, self.random.choice(MUTANTS): 2}) + text[place + self.random.randint(0, 1):]
        names = {name.lower() for name in re.findall(r"c\d{6}\.test", mutant, re.IGNORECASE)}
        return mutant if names <= {self.suffix} else text  # never the name of another world

    def publish(self, domain, depth):
        """The policy of a domain: a record, or what else may be found there."""
        if not askable(domain):
            return
        kind = self.choose({"record": 82, "none": 3 if depth else 5, "servfail": 2, "two": 2, "version": 2, "beside": 5, "cname": 2})
        if kind == "servfail":
            self.zone.append([domain, "SERVFAIL"])
            return
        if kind == "cname" and not any(record[0] == domain for record in self.zone):
            target = self.name()
            self.zone.append([domain, "CNAME", target])
            self.publish(target, depth)
            return
        if kind == "none":
            if self.chance(0.5):
                self.zone.append([domain, "TXT", ["site-verification=spf"]])
            return
        self.domains.append(domain)
        text = self.record(domain, depth)
        while self.mutations and self.chance(0.5):
            self.mutations -= 1
            text = self.mutated(text)
        if kind == "version":
            text = self.random.choice(VERSIONS) + text[7:]
        self.add_text(domain, text)
        if kind == "two":
            self.add_text(domain, self.choose({text: 1, "v=spf1 -all": 1, "v=spf1": 1, "v=spf1\n": 0.5}))
        if kind == "beside":
            self.add_text(domain, self.choose({"v=spf10 -all": 1, "\xff not ours": 1, "v=DMARC1; p=none": 1, " v=spf1 -all": 1}))
        if self.chance(0.3) and not [domain, "SERVFAIL"] in self.zone:
            self.add_address(domain, self.choose({"client": 1, "near": 1, "far": 2}))

    def add_text(self, domain, text):
        cuts = sorted({0, *range(0, len(text), 255), *(self.random.randrange(len(text)) for _ in range(self.choose({0: 8, 1: 1, 2: 1})))})
        record = [domain, "TXT", [text[a:b] for a, b in itertools.pairwise([*cuts, len(text)])]]
        if record not in self.zone:  # the DNS has no record twice
            self.zone.append(record)
