"""What was measured: rows for build/bench.json and docs/benchmarks.md."""
import json
import os
import statistics

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JSON = os.path.join(ROOT, "build", "bench.json")
SUBJECTS = ["start", "cold", "memory", "api", "proxy", "check", "events", "kafka"]  # the order of the table
TABLE = os.path.join(ROOT, "docs", "benchmarks.md")


def p25(values):
    """The 25th percentile: foreign load only ever adds, so the lower half says more than the middle."""
    values = sorted(values)
    return values[(len(values) - 1) // 4]


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, max(0, round(share * len(values) + 0.5) - 1))]


median = statistics.median


class Results:
    """`partial`: only some subjects run; rows of the others are kept as they stand in the file.
    An id begins with its subject: "cold.p50"."""

    def __init__(self, partial=False):
        self.rows = []
        self.partial = partial

    def add(self, name, value, unit, must=None, stretch=None, peer=None, ratio=None, at_least=False, judge="value",
            note=None):
        """`judge`: what `must` and `stretch` bound: "value" or "ratio" (Knit divided by the peer).
        `at_least`: more is better."""
        judged = ratio if judge == "ratio" else value
        ok = None
        if must is not None and judged is not None:
            ok = judged >= must if at_least else judged <= must
        row = {"id": name, "value": None if value is None else round(value, 3), "unit": unit, "peer": peer,
               "ratio": None if ratio is None else round(ratio, 3), "must": must, "stretch": stretch, "ok": ok,
               "judged": judge, "at_least": at_least, "note": note}
        self.rows.append(row)
        bound = "" if must is None else f"{judge} {'>=' if at_least else '<='} {must}: {'ok' if ok else 'MISSED'}"
        beside = "" if peer is None else f" ({peer}{'' if ratio is None else f', ratio {ratio:.2f}'})"
        print(f"{name:32} {value:12.3f} {unit:10} {bound}{beside}", flush=True)

    def skip(self, name, why):
        """What could not be measured, and why; never silently."""
        self.rows.append({"id": name, "value": None, "unit": "", "peer": None, "ratio": None, "must": None,
                          "stretch": None, "ok": None, "judged": "value", "at_least": False,
                          "note": f"not measured: {why}"})
        print(f"{name:32} not measured: {why}", flush=True)

    def write(self):
        rows = list(self.rows)
        if self.partial and os.path.exists(JSON):
            subjects = {r["id"].split(".")[0] for r in rows}
            with open(JSON, encoding="utf-8") as f:
                rows = [r for r in json.load(f) if r["id"].split(".")[0] not in subjects] + rows
        order = {name: at for at, name in enumerate(SUBJECTS)}
        rows.sort(key=lambda r: order.get(r["id"].split(".")[0], len(order)))
        os.makedirs(os.path.dirname(JSON), exist_ok=True)
        with open(JSON, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)
        with open(TABLE, "w", encoding="utf-8") as f:
            f.write(self.table(rows))
        print(f"wrote {JSON} and {TABLE}")

    def table(self, rows):
        text = ("# Benchmarks\nWritten by `make bench` on the machine that ran it last. Compare ratios, not machines: "
                "each is between two\nthings measured alternately in the same run. `must` and `stretch` are the bounds "
                "of the value, or of the ratio where\nthe column says so.\n\n"
                "| what | value | peer, same run | ratio | must | stretch | |\n|---|---|---|---|---|---|---|\n")
        for r in rows:
            sign = "≥" if r.get("at_least") else "≤"
            of = " (ratio)" if r.get("judged") == "ratio" else ""
            bound = lambda b: "" if b is None else f"{sign} {b}{of}"  # noqa: E731
            verdict = {True: "ok", False: "**missed**", None: ""}[r["ok"]]
            value = "—" if r["value"] is None else f"{r['value']:g} {r['unit']}"
            text += (f"| {r['id']} | {value} | {r['peer'] or ''} | "
                     f"{'' if r['ratio'] is None else r['ratio']} | {bound(r['must'])} | {bound(r['stretch'])} | "
                     f"{verdict} |\n")
        notes = [f"* {r['id']}: {r['note']}" for r in rows if r.get("note")]
        return text + ("\n" + "\n".join(notes) + "\n" if notes else "")
