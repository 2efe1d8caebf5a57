package vectors

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// registry reads a table of numbers and names. names says in which column the
// name stands; a number in two rows is a fault.
func registry(t *testing.T, x table, name int) map[int64]string {
	t.Helper()
	list := map[int64]string{}
	for _, row := range x.rows {
		number, _, _ := strings.Cut(row[0], ",")
		n, err := strconv.ParseInt(number, 0, 64)
		if err != nil {
			t.Errorf("table of %v: %v", x.header, err)
			continue
		}
		if list[n] != "" {
			t.Errorf("table of %v: %d stands twice", x.header, n)
		}
		list[n] = row[name]
	}
	return list
}

// spoken turns the name of a constant into that of the specification:
// FramePathChallenge without Frame into PATH_CHALLENGE.
func spoken(name string, cut ...string) string {
	for _, c := range cut {
		name = strings.TrimSuffix(strings.TrimPrefix(name, c), c)
	}
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' && (name[i-1] < 'A' || name[i-1] > 'Z') {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

// TestNames holds the registries whose names are those of the source, number by
// number: none may be missing on either side.
func TestNames(t *testing.T) {
	spec, wire := document(t, specFile), sourceOf(t, "internal/wire")
	smux := map[int64]string{}
	session := sourceOf(t, "internal/session")
	for name, v := range session.values {
		if strings.HasPrefix(name, "cmd") {
			smux[v] = strings.TrimPrefix(name, "cmd")
		}
	}
	named := func(kind string, cut ...string) map[int64]string {
		list := wire.ofType(kind)
		for n, name := range list {
			list[n] = spoken(name, cut...)
		}
		return list
	}
	registries := spec["Registries"]
	for _, c := range []struct {
		what string
		spec table
		name int // column
		code map[int64]string
	}{
		{"records", registries.find(t, "kind", "record", "type"), 2, named("Kind", "Kind")},
		{"presences", registries.find(t, "presence", "meaning"), 1, named("Presence", "Presence")},
		{"frames", spec["Frames"].find(t, "kind", "frame", "fields", "elicits an ACK"), 1, named("FrameKind", "Frame")},
		{"messages of sessions", spec["Messages of sessions"].find(t, "kind", "message", "fields"), 1, named("SessionKind", "Session", "Kind")},
		{"candidates", registries.find(t, "type", "candidate"), 1, named("CandidateType", "Candidate")},
		{"commands of smux", spec["Reliable streams"].find(t, "command", "name", "meaning", "follows"), 1, smux},
	} {
		got := registry(t, c.spec, c.name)
		for n, text := range got {
			word, _, _ := strings.Cut(strings.Trim(text, "`"), ":") // what follows explains
			word = strings.ReplaceAll(strings.ToUpper(word), " ", "_")
			if word == "DATA_WITH_FIN" {
				word = "DATA_FIN"
			}
			got[n] = word
		}
		if len(got) < 3 || !maps.Equal(got, c.code) {
			t.Errorf("%s: the specification has\n%v, the source\n%v", c.what, got, c.code)
		}
	}
}

// TestNumbers holds the registries whose names are words: they must have the
// numbers of the source, all of them and no more.
func TestNumbers(t *testing.T) {
	spec := document(t, specFile)
	wire, transport, session := sourceOf(t, "internal/wire"), sourceOf(t, "transport"), sourceOf(t, "internal/session")
	reliable, engine := sourceOf(t, "internal/reliable"), sourceOf(t, ".")
	registries := spec["Registries"]
	prefixed := func(c *constants, prefix string) []int64 {
		var list []int64
		for name, v := range c.values {
			if strings.HasPrefix(name, prefix) && name != "CodeFaults" {
				list = append(list, v)
			}
		}
		return list
	}
	typed := func(kind string) []int64 { return slices.Collect(maps.Keys(wire.ofType(kind))) }
	closes := slices.Concat(prefixed(transport, "Code"), prefixed(transport, "code"), prefixed(reliable, "Code"))
	for _, c := range []struct {
		what string
		spec table
		code []int64
	}{
		{"relations", registries.find(t, "relation", "meaning"), typed("Relation")},
		{"offers", registries.find(t, "kind", "offer"), typed("OfferKind")},
		{"control messages", registries.find(t, "kind", "message"), prefixed(engine, "control")},
		{"control messages of links", spec["Control messages"].find(t, "kind", "body"), prefixed(engine, "control")},
		{"codes of CLOSE", registries.tables[len(registries.tables)-1], closes},
		{"codes of lanes", registries.tables[len(registries.tables)-2], prefixed(session, "lane")},
		{"causes of the end of sessions", spec["Messages of sessions"].find(t, "cause", "meaning", "the lane"), typed("SessionCause")},
		{"causes of the end of flows", spec["Datagram streams"].find(t, "cause", "meaning"), typed("FlowCause")},
	} {
		got := slices.Sorted(maps.Keys(registry(t, c.spec, 1)))
		var want []int64
		for _, v := range c.code {
			if v < 1e6 { // durations share prefixes with codes
				want = append(want, v)
			}
		}
		slices.Sort(want)
		if len(got) < 2 || !slices.Equal(got, want) {
			t.Errorf("%s: the specification has %v, the source %v", c.what, got, want)
		}
	}
}

// TestSuites holds the cipher suites and the lengths of their keys.
func TestSuites(t *testing.T) {
	got := registry(t, document(t, specFile)["Key schedule"].find(t, "suite", "AEAD", "length of packet and header keys"), 1)
	want := map[int64]string{}
	for n, name := range sourceOf(t, "transport").ofType("suite") {
		want[n] = name
	}
	if len(got) != 2 || !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("the specification has suites %v, the source %v", got, want)
	}
}

// TestLabels holds the list of labels: every one that the source has, and no
// other, and each explained where it is used.
func TestLabels(t *testing.T) {
	spec := document(t, specFile)
	code := literals(t, "carrier/1 ", "EXPORTER-")
	delete(code, "carrier/1 passphrase") // of what a node seals for itself: no other one reads it
	listed := map[string]bool{}
	for _, part := range strings.Split(words(spec["Registries"].text), "`") {
		if strings.HasPrefix(part, "carrier/1 ") || strings.HasPrefix(part, "EXPORTER-") {
			listed[part] = true
		}
	}
	if len(code) < 20 || !maps.Equal(code, listed) {
		t.Errorf("the specification lists the labels\n%q, the source has\n%q", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(code)))
	}
	for label := range code {
		used := 0
		for heading, s := range spec {
			if heading != "Registries" {
				used += strings.Count(words(s.text), "`"+label+"`")
			}
		}
		if used == 0 {
			t.Errorf("label %q is not explained", label)
		}
	}
}

// TestHashed holds the tables of what is hashed or signed: a label is as long as
// they say.
func TestHashed(t *testing.T) {
	checked := 0
	for heading, s := range document(t, specFile) {
		for _, x := range s.tables {
			if strings.Join(x.header, "|") != "field|length" {
				continue
			}
			for _, row := range x.rows {
				label, ok := strings.CutPrefix(row[0], "`")
				if !ok {
					continue
				}
				if label = strings.TrimSuffix(label, "`"); strconv.Itoa(len(label)) != row[1] {
					t.Errorf("section %q: label %q has %d bytes, not %s", heading, label, len(label), row[1])
				}
				checked++
			}
		}
	}
	if checked < 3 {
		t.Errorf("%d labels are hashed, want those of signatures, attempts and keys", checked)
	}
}
