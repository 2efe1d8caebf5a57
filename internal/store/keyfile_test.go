package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// with is a directory's secret when it is a passphrase; nil for none.
func with(passphrase string) Secret {
	if passphrase == "" {
		return Secret{}
	}
	return Secret{Passphrase: []byte(passphrase)}
}

// A directory is made under a passphrase, gets another, none, and one again,
// and each time only that one opens it; what it holds stays.
func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s, err := Open(dir, with("first"))
	if err != nil {
		t.Fatal(err)
	}
	key := s.secret.InsecureBytes()
	putTest(t, s, "t", nil, []byte("k"), []byte("v"))
	p := s.Prekeys()
	if err := p.Replace([]Prekey{{Number: 7}}); err != nil {
		t.Fatal(err)
	}
	now := "first"
	for _, next := range []string{"second", "", "third"} {
		rows, prekeys := read(dbName), read(prekeysName)
		if err := s.SetPassphrase([]byte(next)[:len(next):len(next)]); (next == "") != errors.Is(err, ErrPassphrase) {
			t.Fatalf("SetPassphrase(%q) = %v", next, err)
		}
		if next == "" { // empty is refused; nil is none
			if err := s.SetPassphrase(nil); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(read(dbName), rows) || !bytes.Equal(read(prekeysName), prekeys) {
			t.Error("a change of the passphrase wrote more than the key file")
		}
		if shown := bytes.Contains(read(keyName), []byte(hex.EncodeToString(key))); shown != (next == "") {
			t.Errorf("under passphrase %q the key file shows the key: %t", next, shown)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.SetPassphrase([]byte("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("SetPassphrase after Close = %v, want ErrClosed", err)
		}
		before := snapshot(t, dir)
		wrong := []Secret{with(now), {Passphrase: []byte{}}}
		if next != "" {
			wrong = append(wrong, Secret{})
		}
		for _, secret := range wrong {
			if _, err := Open(dir, secret); !errors.Is(err, ErrPassphrase) || now != "" && strings.Contains(err.Error(), now) {
				t.Errorf("under passphrase %q Open with %q = %v, want ErrPassphrase", next, secret.Passphrase, err)
			}
		}
		if _, err := Open(dir, Secret{Key: testKey(9)}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("Open with a key = %v, want ErrWrongKey", err)
		}
		before.same(t, dir)
		if s, err = Open(dir, with(next)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get("t", nil, []byte("k")); err != nil || string(got) != "v" {
			t.Errorf("Get = %q, %v under passphrase %q", got, err, next)
		}
		if got := len(s.Prekeys().All()); got != 1 {
			t.Errorf("%d prekeys under passphrase %q, want 1", got, next)
		}
		now = next
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, with("third")); got != redacted {
			t.Errorf("%s of a secret gives %q", verb, got)
		}
	}
}

// A directory whose key the program keeps has no key file to lock.
func TestPassphraseBesideKey(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, testKey(1))
	if err := s.SetPassphrase([]byte("x")); !errors.Is(err, ErrWrongKey) {
		t.Errorf("SetPassphrase = %v, want ErrWrongKey", err)
	}
	s.Close()
	if _, err := os.Stat(filepath.Join(dir, keyName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key file was made: %v", err)
	}
	if _, err := Open(dir, with("x")); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Open with a passphrase = %v, want ErrWrongKey", err)
	}
	if _, err := Open(dir, Secret{Key: testKey(1), Passphrase: []byte("x")}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Open with both = %v, want ErrWrongKey", err)
	}
	openTest(t, dir, testKey(1))
}

// A first start that was interrupted behind the key file goes on with its key,
// and with its passphrase only.
func TestPassphraseInterrupted(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, with("first"))
	if err != nil {
		t.Fatal(err)
	}
	key := s.secret
	s.Close()
	if err := os.Remove(filepath.Join(dir, dbName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, with("other")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("Open with another passphrase = %v, want ErrPassphrase", err)
	}
	if s, err = Open(dir, with("first")); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.secret.Equal(key) {
		t.Error("the key was made again")
	}
}

// Close gives the directory to others: it waits until a key file that is being
// written is whole.
func TestCloseWaitsForTheKeyFile(t *testing.T) {
	dir := t.TempDir()
	writing, goOn := make(chan struct{}), make(chan struct{})
	s, err := openDisk(dir, Secret{}, files{}, migrations())
	if err != nil {
		t.Fatal(err)
	}
	s.files.step = func(call, _ string) error {
		if call == "write" {
			close(writing)
			<-goOn
		}
		return nil
	}
	set, closed := make(chan error, 1), make(chan error, 1)
	go func() { set <- s.SetPassphrase(nil) }()
	<-writing
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Errorf("Close = %v while the key file is being written", err)
		close(goOn)
	case <-time.After(50 * time.Millisecond):
		close(goOn)
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if err := <-set; err != nil {
		t.Errorf("SetPassphrase = %v", err)
	}
	openTest(t, dir, nil)
}

// The form of the key file does not change by accident.
const goldenKeyLine = "carrier key 1 AQAAAAMAAQAABC4RGyciysfXVu+tgN4eK4JXvdHYjwkc4TWvtjYABzsdPFrhs6m9uWL2x4EK1InTAZGwQVngP/9W2/RoWCMt9wspCsVe9BlIxrIQ/d0EQANUT9iGRa4OBPcxTmwn"

// FuzzParseKey reads whatever may stand in a key file.
func FuzzParseKey(f *testing.F) {
	const path = "/dir/carrier.key"
	pass := []byte("correct horse battery staple")
	want := testKey(5)
	if key, err := parseKey(path, goldenKeyLine, pass); err != nil || !bytes.Equal(key, want) {
		line, _ := keyLine(want, pass)
		f.Errorf("the golden line gives %x, %v; now it would be %q", key, err, line)
	}
	if _, err := parseKey(path, goldenKeyLine, []byte("another")); !errors.Is(err, ErrPassphrase) {
		f.Errorf("the golden line with another passphrase gives %v", err)
	}
	f.Add(hex.EncodeToString(want), false)
	f.Add(hex.EncodeToString(want), true)
	f.Add(hex.EncodeToString(want)[1:], false)
	f.Add(goldenKeyLine, false)
	f.Add(goldenKeyLine[1:], false)
	f.Add(" "+goldenKeyLine, false)
	f.Add(goldenKeyLine[:len(goldenKeyLine)-1], true)
	f.Add(sealedKeyTag, true)
	f.Add(sealedKeyTag+" ", true)
	f.Add("", false)
	f.Fuzz(func(t *testing.T, line string, locked bool) {
		var passphrase []byte
		// A whole one with a passphrase would take its time: the crypto
		// package's fuzzing goes there.
		if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, sealedKeyTag+" ")); locked && (err != nil || len(b) < 100) {
			passphrase = pass
		}
		key, err := parseKey(path, line, passphrase)
		if err != nil {
			if key != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrPassphrase) && !errors.Is(err, ErrNewer) {
				t.Errorf("parseKey = %x, %v", key, err)
			}
			if len(line) > 20 && strings.Contains(err.Error(), line[:20]) && !strings.HasPrefix(path, line[:20]) {
				t.Errorf("the error quotes the file: %v", err)
			}
			return
		}
		if again, _ := keyLine(key, nil); passphrase != nil || !strings.EqualFold(again, line+"\n") {
			t.Errorf("%q gives the key of %q", line, again)
		}
	})
}
