package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A layout says which fields of a vector stand where a table of the
// specification has its rows of known offset.
type layout struct {
	heading string
	header  []string // that of the table, to tell it from others of the section
	file    string   // of docs/vectors
	fields  []string // a path for each row of known offset and length; empty: see skip
	sizes   string   // the sentence that tells least and largest case
}

const (
	// aNumber of the registries, or a length: told by no field.
	untold = "-"
)

func layouts() []layout {
	offsets := []string{"offset", "length", "field"}
	return []layout{
		{"State", offsets, "records/state", []string{
			untold, "incarnation.created incarnation.random", "version", "time", "format", "start", "relation", "bond", "presence",
			"profile", untold, untold,
		}, "62 to 789 bytes."},
		{"Window", offsets, "records/window", []string{"sequence.incarnation.created sequence.incarnation.random sequence.counter", untold}, "29 to 85 bytes."},
		{"Receipt", offsets, "records/receipt", []string{
			"sequence.incarnation.created sequence.incarnation.random sequence.counter", "incarnation.created incarnation.random",
			"number", "mark", untold, untold,
		}, "54 to 120 bytes."},
		{"Receipt note", offsets, "records/note", []string{untold, "version", "bond"}, "At most 137 bytes."},
		{"Profile", offsets, "records/profile", []string{untold, "incarnation.created incarnation.random", "version"}, "At most 346 bytes."},
		{"Mail", offsets, "records/mail", []string{
			untold, "sequence.incarnation.created sequence.incarnation.random sequence.counter", "generation", "bond", "base", "first", "prior", untold, untold,
		}, ""},
		{"Hello", offsets, "records/hello", []string{
			untold, "incarnation.created incarnation.random", "version", "time", "start", "bond", "nonce", "echo", "presence", "answer",
		}, "68 to 86 bytes;"},
		{"Request", offsets, "records/request", []string{
			untold, "from", "incarnation.created incarnation.random", "nospam", "number", "time", "expiry", "format", "start",
		}, "At most 606 bytes."},
		{"Offer", offsets, "records/offer", []string{
			"kind", "generation", "id", "re", "start", "ufrag", "password", "fingerprint", "link", untold,
		}, "98 to 258 bytes."},
		{"Envelope", offsets, "records/envelope", []string{untold, "tag"}, ""},
		{"Plaintext", offsets, "records/plain", []string{"kind", untold}, ""},
		{"Record over a link", offsets, "records/linkrecord", []string{"kind"}, ""},
	}
}

// caseFile is a file of records or frames.
type caseFile struct {
	Layout string
	Cases  []struct {
		Name, Bytes, Fault string
		Fields             json.RawMessage
	}
}

func readCases(t *testing.T, name string) (file caseFile) {
	t.Helper()
	b, err := os.ReadFile(root + "docs/vectors/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// offsetTables returns the tables of offsets that a section has.
func (s section) offsetTables(header []string) (list []table) {
	for _, x := range s.tables {
		if strings.Join(x.header, "|") == strings.Join(header, "|") {
			list = append(list, x)
		}
	}
	return list
}

// TestOffsets reads each vector by the tables of the specification: every field
// of known offset must hold what the vector says.
func TestOffsets(t *testing.T) {
	spec := document(t, specFile)
	for _, l := range layouts() {
		t.Run(l.heading, func(t *testing.T) {
			s, ok := spec[l.heading]
			if !ok {
				t.Fatal("no such section")
			}
			rows := known(t, s.offsetTables(l.header)[0])
			if len(rows) != len(l.fields) {
				t.Fatalf("%d rows of known offset and length, want %d", len(rows), len(l.fields))
			}
			least, largest, checked := 1<<30, 0, 0
			for _, c := range readCases(t, l.file).Cases {
				if c.Fault != "" {
					continue
				}
				b, err := hex.DecodeString(c.Bytes)
				if err != nil {
					t.Fatal(err)
				}
				least, largest = min(least, len(b)), max(largest, len(b))
				for i, row := range rows {
					if l.fields[i] == untold {
						continue
					}
					if !strings.Contains(row.told, wordOf(l.fields[i])) {
						t.Errorf("offset %d holds %s, the specification says %q", row.at, l.fields[i], row.told)
					}
					want := encoded(t, c.Fields, l.fields[i], row.length)
					if row.at+row.length > len(b) || !bytes.Equal(b[row.at:row.at+row.length], want) {
						t.Errorf("%s: %s is not the %d bytes at offset %d", c.Name, l.fields[i], row.length, row.at)
					}
					checked++
				}
			}
			if checked == 0 {
				t.Error("nothing was checked")
			}
			l.checkSizes(t, s, least, largest)
		})
	}
}

func (l *layout) checkSizes(t *testing.T, s section, least, largest int) {
	t.Helper()
	if l.sizes == "" {
		return
	}
	if !strings.Contains(words(s.text), l.sizes) {
		t.Errorf("the section does not say %q", l.sizes)
	}
	told := strings.FieldsFunc(l.sizes, func(r rune) bool { return r < '0' || r > '9' })
	if most := told[len(told)-1]; most != strconv.Itoa(largest) || len(told) > 1 && told[0] != strconv.Itoa(least) {
		t.Errorf("cases have %d to %d bytes, the specification says %q", least, largest, l.sizes)
	}
}

// wordOf is how the specification calls a field.
func wordOf(path string) string {
	first, _, _ := strings.Cut(path, ".")
	switch first {
	case "ufrag":
		return "user name fragment"
	case "fingerprint":
		return "SHA-256"
	case "from":
		return "ID of the requester"
	}
	return first
}

// placed is a row of known offset and length.
type placed struct {
	at, length int
	told       string // what stands there
}

// known returns the rows of a table up to the first whose length is not known.
// Their offsets must follow from the lengths.
func known(t *testing.T, x table) (rows []placed) {
	t.Helper()
	next := 0
	for _, row := range x.rows {
		at, err := strconv.Atoi(row[0])
		if err != nil {
			return rows
		}
		if at != next {
			t.Errorf("%q stands at offset %d, what is before it ends at %d", row[2], at, next)
		}
		length, err := strconv.Atoi(row[1])
		if err != nil {
			return rows
		}
		rows = append(rows, placed{at, length, row[2]})
		next = at + length
	}
	return rows
}

// encoded gives fields of a vector as they must stand in so many bytes: numbers
// big-endian, the last ones of as many bytes as are left when all others have 8.
func encoded(t *testing.T, fields json.RawMessage, paths string, length int) (b []byte) {
	t.Helper()
	list := strings.Fields(paths)
	for i, path := range list {
		size := 8
		if i == len(list)-1 {
			size = length - len(b)
		}
		b = append(b, fieldBytes(t, fields, path, size)...)
	}
	return b
}

func fieldBytes(t *testing.T, fields json.RawMessage, path string, size int) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(fields, &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if v, ok = m[name], ok && m[name] != nil; !ok {
			t.Fatalf("no field %s in %s", path, fields)
		}
	}
	if flag, ok := v.(bool); ok {
		v = "0"
		if flag {
			v = "1"
		}
	}
	text := fmt.Sprint(v)
	if len(text) == 2*size { // bytes; no number of 8 or more bytes has so many digits
		if b, err := hex.DecodeString(text); err == nil {
			return b
		}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("field %s: %v", path, err)
	}
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * (7 - i)))
	}
	return b[8-size:]
}

// TestOtherOffsets holds the tables of what the vectors have no fields of: their
// offsets follow from their lengths, and these are the source's.
func TestOtherOffsets(t *testing.T) {
	spec := document(t, specFile)
	session := sourceOf(t, "internal/session")
	for heading, want := range map[string]int64{
		"Address":            45,
		"Handshake datagram": 1 + 8,
		"Data packets":       1 + 8 + 4,
		"Reliable streams":   session.values["frameHeader"],
	} {
		rows := known(t, spec[heading].offsetTables([]string{"offset", "length", "field"})[0])
		if last := rows[len(rows)-1]; int64(last.at+last.length) != want {
			t.Errorf("the fields of %s end at %d, want %d", heading, last.at+last.length, want)
		}
	}
}

// TestPadding holds the sizes that the specification gives to the vectors of
// sealed values, and the room in them to the overheads.
func TestPadding(t *testing.T) {
	spec := document(t, specFile)
	text := words(spec["Plaintext"].text)
	for _, sizes := range []struct {
		told     string
		whole    []int
		overhead int
	}{
		{"the plaintext has 472 or 860 bytes in a slot", []int{512, 900}, 40},
		{"464 or 852 in a request", []int{512, 900}, 48},
		{"207, 463, 851 or 1,359 in an envelope", []int{256, 512, 900, 1408}, 9 + 40},
	} {
		if !strings.Contains(text, sizes.told) {
			t.Errorf("the section does not say %q", sizes.told)
		}
		plain := strings.ReplaceAll(sizes.told, "1,359", "1359")
		for _, n := range sizes.whole {
			if !strings.Contains(plain, strconv.Itoa(n-sizes.overhead)) {
				t.Errorf("%q has no %d, which makes a whole of %d bytes", sizes.told, n-sizes.overhead, n)
			}
		}
	}
}
