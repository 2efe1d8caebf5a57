package decoder

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const vectorsDir = "../../../docs/vectors"

// vector is a file of one case.
type vector struct {
	t        *testing.T
	kind     string
	in, want map[string]string
}

// eachVector runs a test for each file of a folder.
func eachVector(t *testing.T, dir string, run func(v *vector)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorsDir, dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			var v struct{ In, Want map[string]string }
			readJSON(t, file, &v)
			kind, _, _ := strings.Cut(name, "_")
			run(&vector{t: t, kind: kind, in: v.In, want: v.Want})
		})
	}
}

func readJSON(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func (v *vector) hex(name string) []byte {
	v.t.Helper()
	text, ok := v.in[name]
	b, err := hex.DecodeString(text)
	if err != nil || !ok {
		v.t.Fatalf("field %s: %v", name, err)
	}
	return b
}

func (v *vector) number(name string) uint64 {
	v.t.Helper()
	n, err := strconv.ParseUint(v.in[name], 10, 64)
	if err != nil {
		v.t.Fatalf("field %s: %v", name, err)
	}
	return n
}

func (v *vector) identity(name string) *Identity {
	v.t.Helper()
	i, err := NewIdentity(v.hex(name))
	if err != nil {
		v.t.Fatal(err)
	}
	return i
}

func (v *vector) suite() uint16 {
	v.t.Helper()
	n, err := strconv.ParseUint(v.in["suite"], 16, 16)
	if err != nil {
		v.t.Fatal(err)
	}
	return uint16(n)
}

// check holds results against what is wanted: texts, or bytes as hexadecimal
// text. All that is wanted must be among them.
func (v *vector) check(got map[string]any) {
	v.t.Helper()
	if len(v.want) == 0 {
		v.t.Fatal("nothing is wanted")
	}
	for name, want := range v.want {
		text, ok := got[name].(string)
		if b, isBytes := got[name].([]byte); isBytes {
			text, ok = hex.EncodeToString(b), true
		}
		if !ok || text != want {
			v.t.Errorf("%s = %q, want %q", name, text, want)
		}
	}
}

// checkError is for cases that want a name of a fault.
func (v *vector) checkError(name string, err error, text string) {
	v.t.Helper()
	if err == nil {
		v.t.Fatalf("taken, want %s %q", name, v.want[name])
	}
	v.check(map[string]any{name: text})
}

func mustEqual(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}
