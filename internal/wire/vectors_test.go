package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var rewrite = flag.Bool("rewrite", false, "rewrite docs/vectors/records and docs/vectors/frames")

// A vectorFile is one file of docs/vectors: bytes of one layout, with their
// fields or with the fault for which they are refused.
type vectorFile struct {
	Layout string       `json:"layout"`
	Cases  []vectorCase `json:"cases"`
}

type vectorCase struct {
	Name   string          `json:"name"`
	Bytes  string          `json:"bytes"`
	Fields json.RawMessage `json:"fields,omitempty"`
	Fault  string          `json:"fault,omitempty"`
}

// faults names the reasons for which bytes are refused.
func faults() map[string]error {
	return map[string]error{"short": ErrShort, "trailing": ErrTrailing, "format": ErrFormat, "kind": ErrKind, "value": ErrValue}
}

// TestVectors holds every sample against its bytes in docs/vectors, both ways,
// and refuses for the right reason what is refused there.
func TestVectors(t *testing.T) {
	known := map[string]bool{}
	for _, c := range codecs() {
		file := vectorPath(c)
		known[file] = true
		t.Run(c.name, func(t *testing.T) {
			if len(c.samples) == 0 {
				t.Error("no samples")
			}
			want := vectorsOf(c)
			if *rewrite {
				writeVectors(t, file, want)
			}
			got := readVectors(t, file)
			if len(got.Cases) != len(want.Cases) || got.Layout != want.Layout {
				t.Fatalf("%s has %d cases of %q, want %d of %q", file, len(got.Cases), got.Layout, len(want.Cases), want.Layout)
			}
			for i, v := range got.Cases {
				w := want.Cases[i]
				if v.Name != w.Name || v.Bytes != w.Bytes || v.Fault != w.Fault || compact(v.Fields) != compact(w.Fields) {
					t.Errorf("%s says\n%+v, want\n%+v", file, v, w)
				}
				checkVector(t, c, i, v)
			}
		})
	}
	for _, dir := range []string{"records", "frames"} {
		files, err := filepath.Glob(filepath.Join(vectorDir, dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !known[file] {
				t.Errorf("%s belongs to no layout", file)
			}
		}
	}
}

// checkVector decodes a case, and encodes it again.
func checkVector(t *testing.T, c codec, i int, v vectorCase) {
	t.Helper()
	b, err := hex.DecodeString(v.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	x, err := c.parse(b)
	if v.Fault != "" {
		if !errors.Is(err, faults()[v.Fault]) {
			t.Errorf("%s: got %v, want fault %q", v.Name, err, v.Fault)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	if i < len(c.samples) && !reflect.DeepEqual(x, c.samples[i].x) {
		t.Errorf("%s decodes to\n%+v, want\n%+v", v.Name, x, c.samples[i].x)
	}
	if after := c.append([]byte("dst"), x); string(after[:3]) != "dst" || !bytes.Equal(after[3:], b) {
		t.Errorf("%s: does not append what it was decoded from", v.Name)
	}
}

const vectorDir = "../../docs/vectors"

func vectorPath(c codec) string {
	dir := "frames"
	for _, r := range records() {
		if r.name == c.name {
			dir = "records"
		}
	}
	return filepath.Join(vectorDir, dir, c.name+".json")
}

// vectorsOf returns the cases of one layout: its samples, then what is refused.
func vectorsOf(c codec) vectorFile {
	file := vectorFile{Layout: c.name}
	add := func(name string, b []byte) {
		v := vectorCase{Name: name, Bytes: hex.EncodeToString(b)}
		if x, err := c.parse(b); err == nil {
			v.Fields = fieldsOf(x)
		} else {
			for fault, reason := range faults() {
				if errors.Is(err, reason) {
					v.Fault = fault
				}
			}
		}
		file.Cases = append(file.Cases, v)
	}
	for _, s := range c.samples {
		add(s.name, c.append(nil, s.x))
	}
	least := c.append(nil, c.samples[0].x)
	if !openEnded()[c.name] {
		add("a byte less", least[:len(least)-1])
		add("a byte more", append(bytes.Clone(least), 0))
	}
	if c.record {
		later := bytes.Clone(least)
		later[0]++
		add("a later format", later)
	}
	for _, r := range refusals() {
		if r.codec == c.name {
			add(r.what, r.bytes(c))
		}
	}
	for _, l := range frameLimits() {
		if l.frame == c.name {
			add(l.what, l.bytes())
		}
	}
	switch c.name {
	case "session":
		for _, r := range sessionRefusals() {
			add(r.what, r.bytes())
		}
		add("unknown kind", []byte{byte(SessionBulkRefuseKind) + 1, 7, 1})
	case "packet":
		add("unknown frame behind a PING", []byte{byte(FramePing), 0x12})
		add("frame cut at the end", []byte{byte(FramePing), byte(FrameLaneWindow), 1})
	case "plain":
		add("unknown kind", []byte{byte(KindRequest) + 1, 0, 0})
		add("shorter than it says", []byte{byte(KindState), 0, 2, 1})
	case "linkrecord":
		add("a hello, which does not go over links", []byte{byte(KindHello), 1})
	case "envelope":
		later := bytes.Clone(least)
		later[0]++
		add("a later format", later)
		add("a size between the others", append(bytes.Clone(least), 0))
	}
	return file
}

// readVectors reads a file of docs/vectors.
func readVectors(t testing.TB, path string) (file vectorFile) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return file
}

func writeVectors(t *testing.T, path string, file vectorFile) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 {
		return ""
	}
	if err := json.Compact(&b, raw); err != nil {
		return err.Error()
	}
	return b.String()
}

// fieldsOf gives a value in the form of docs/vectors: bytes in hexadecimal,
// numbers as decimal text, so that those of 64 bits survive, and addresses as
// IP:port.
func fieldsOf(x any) json.RawMessage {
	var b bytes.Buffer
	writeFields(&b, reflect.ValueOf(x))
	return b.Bytes()
}

func writeFields(b *bytes.Buffer, v reflect.Value) {
	text := func(s string) {
		quoted, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		_, _ = b.Write(quoted) // never fails
	}
	list := func(n int, element func(int)) {
		b.WriteByte('[')
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			element(i)
		}
		b.WriteByte(']')
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("null")
			return
		}
		writeFields(b, v.Elem())
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		text(strconv.FormatUint(v.Uint(), 10))
	case reflect.Int, reflect.Int64:
		text(strconv.FormatInt(v.Int(), 10))
	case reflect.String:
		text(v.String())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			raw := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(raw), v)
			text(hex.EncodeToString(raw))
			return
		}
		list(v.Len(), func(i int) { writeFields(b, v.Index(i)) })
	case reflect.Struct:
		writeStruct(b, v, text)
	default:
		panic(fmt.Sprintf("no form for a %s", v.Type()))
	}
}

func writeStruct(b *bytes.Buffer, v reflect.Value, text func(string)) {
	if v.Type() == reflect.TypeFor[netip.AddrPort]() {
		a := v.Interface().(netip.AddrPort)
		if !a.IsValid() {
			b.WriteString("null")
			return
		}
		text(a.String())
		return
	}
	b.WriteByte('{')
	sep := ""
	if message, ok := v.Interface().(SessionMessage); ok {
		fmt.Fprintf(b, `"message":"%d"`, message.kind())
		sep = ","
	}
	for i := range v.NumField() {
		fmt.Fprintf(b, "%s%q:", sep, fieldName(v.Type().Field(i).Name))
		writeFields(b, v.Field(i))
		sep = ","
	}
	b.WriteByte('}')
}

// fieldName turns CannotOpen into cannot_open, and MessageID into message_id.
func fieldName(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && unicode.IsLower(runes[i-1]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
