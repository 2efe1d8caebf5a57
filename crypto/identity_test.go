package crypto

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mr-tron/base58"
)

func base58Max(n int) string { return base58.Encode(bytes.Repeat([]byte{0xff}, n)) }

func TestIdentityFromSeed(t *testing.T) {
	for _, n := range []int{0, 31, 33, 64} {
		if _, err := IdentityFromSeed(make([]byte, n)); err == nil {
			t.Errorf("a seed of %d bytes is taken", n)
		}
	}
	i := NewIdentity()
	seed := i.InsecureSeed()
	same, err := IdentityFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	clear(seed)
	if !i.Equal(same) || i.ID() != same.ID() {
		t.Error("the identity of its own seed is another")
	}
	if i.Equal(NewIdentity()) {
		t.Error("two new identities are equal")
	}
}

// TestRedaction prints, logs and marshals each secret in every way, also from
// within other structs, exported and not, and looks for its bytes.
func TestRedaction(t *testing.T) {
	seed := bytes.Repeat([]byte{0xa7}, 32) // 167 in decimal
	i, err := IdentityFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	k, err := KeyFromBytes(seed)
	if err != nil {
		t.Fatal(err)
	}
	p, err := PrekeyFromBytes(seed)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := i.Pair(NewIdentity().ID())
	if err != nil {
		t.Fatal(err)
	}
	pair.secret = hide([32]byte(seed))
	for _, secret := range []any{i, *i, k, &k, p, *p, pair, *pair} {
		t.Run(fmt.Sprintf("%T", secret), func(t *testing.T) {
			inside := []any{
				secret,
				struct{ S any }{secret},
				[]any{secret},
				map[string]any{"s": secret},
				fmt.Errorf("holding %v", secret),
			}
			for _, v := range inside {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%t", "%08b"} {
					clean(t, verb, fmt.Sprintf(verb, v))
				}
				clean(t, "json", marshal(t, json.Marshal, v))
				for _, h := range []func(*bytes.Buffer) slog.Handler{
					func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
					func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
				} {
					var b bytes.Buffer
					slog.New(h(&b)).Info("secret", "s", v)
					clean(t, "slog", b.String())
				}
			}
			clean(t, "xml", marshal(t, xml.Marshal, secret))
			if got := fmt.Sprint(secret); got != "[redacted]" {
				t.Errorf("prints as %q", got)
			}
			if got := marshal(t, json.Marshal, secret); got != `"[redacted]"` {
				t.Errorf("marshals as %s", got)
			}
			if reflect.TypeOf(secret).Kind() == reflect.Struct && reflect.TypeOf(secret).Comparable() {
				t.Error("can be compared by ==")
			}
		})
	}
	// Unexported fields: package fmt does not call methods on them.
	hidden := struct {
		i    *Identity
		iv   Identity
		k    Key
		kp   *Key
		p    *Prekey
		pv   Prekey
		pair *Pair
		pev  Pair
	}{i, *i, k, &k, p, *p, pair, *pair}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d", "%t", "%f"} {
		clean(t, verb, fmt.Sprintf(verb, hidden))
		clean(t, verb, fmt.Sprintf(verb, &hidden))
	}
}

func marshal(t *testing.T, f func(any) ([]byte, error), v any) string {
	t.Helper()
	b, err := f(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func clean(t *testing.T, how, got string) {
	t.Helper()
	if leaks(got) != "" {
		t.Errorf("%s shows the secret: %s", how, got)
	}
}

// leaks returns the form in which bytes 0xa7 stand in a text, if they do.
func leaks(text string) string {
	base64, raw := "p6enp6en", "\xa7\xa7"
	for _, leak := range []string{"a7a7a7a7", "A7A7A7A7", "167 167", "a7 a7", "0xa7, 0xa7", "10100111", base64, raw} {
		if strings.Contains(text, leak) {
			return leak
		}
	}
	return ""
}

func TestKeyEqual(t *testing.T) {
	a, b := NewKey(), NewKey()
	same, err := KeyFromBytes(a.InsecureBytes())
	if err != nil {
		t.Fatal(err)
	}
	if !a.Equal(same) || a.Equal(b) || a.Equal(Key{}) || (Key{}).Equal(a) || !(Key{}).Equal(Key{}) {
		t.Error("Equal of keys")
	}
	if !(Key{}).IsZero() || a.IsZero() {
		t.Error("IsZero of keys")
	}
	if _, err := KeyFromBytes(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes is taken")
	}
	p := NewPrekey()
	again, err := PrekeyFromBytes(p.InsecureBytes())
	if err != nil {
		t.Fatal(err)
	}
	if !p.Equal(again) || p.Equal(NewPrekey()) || p.Public() != again.Public() {
		t.Error("Equal of prekeys")
	}
	if _, err := PrekeyFromBytes(make([]byte, 33)); err == nil {
		t.Error("a prekey of 33 bytes is taken")
	}
}

func TestIncarnation(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	first := NewIncarnation(now, Incarnation{})
	if first.Created != now.UnixMilli() {
		t.Errorf("created %d, want now", first.Created)
	}
	behind := NewIncarnation(now.Add(-time.Hour), first)
	if behind.Created != first.Created+1 {
		t.Errorf("with a clock behind: created %d, want %d", behind.Created, first.Created+1)
	}
	last := NewIncarnation(now, Incarnation{Created: math.MaxInt64})
	if last.Created != math.MaxInt64 {
		t.Errorf("after the last: created %d", last.Created)
	}
	if first.Random == behind.Random {
		t.Error("two incarnations drew the same number")
	}
	for _, c := range []struct {
		a, b Incarnation
		want int
	}{
		{Incarnation{1, 9}, Incarnation{2, 0}, -1},
		{Incarnation{2, 0}, Incarnation{1, 9}, 1},
		{Incarnation{1, 1}, Incarnation{1, 2}, -1},
		{Incarnation{1, 1}, Incarnation{1, 1}, 0},
	} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%v to %v: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
	if got := (Incarnation{Created: 5, Random: 0xab}).String(); got != "5-00000000000000ab" {
		t.Errorf("got %s", got)
	}
	if !(Incarnation{}).IsZero() || first.IsZero() {
		t.Error("IsZero")
	}
}

func TestEpochs(t *testing.T) {
	at := time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC) // a Thursday: weeks begin on it
	for _, c := range []struct {
		name      string
		of        func(time.Time) Epoch
		start     func(Epoch) time.Time
		wantStart time.Time
		length    time.Duration
	}{
		{"hour", Hour, Epoch.HourStart, time.Date(2024, 2, 29, 23, 0, 0, 0, time.UTC), time.Hour},
		{"day", Day, Epoch.DayStart, time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), 24 * time.Hour},
		{"week", Week, Epoch.WeekStart, time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), 7 * 24 * time.Hour},
	} {
		e := c.of(at)
		if got := c.start(e); !got.Equal(c.wantStart) {
			t.Errorf("%s of %v begins %v, want %v", c.name, at, got, c.wantStart)
		}
		if got := c.start(e + 1).Sub(c.start(e)); got != c.length {
			t.Errorf("%s lasts %v", c.name, got)
		}
		if c.of(c.start(e)) != e || c.of(c.start(e).Add(-1)) != e-1 {
			t.Errorf("%s: its start does not lie in it", c.name)
		}
		if got := c.of(time.Unix(-5, 0)); got != 0 {
			t.Errorf("%s before 1970: %d", c.name, got)
		}
		if got := c.of(at.In(time.FixedZone("", 5*3600))); got != e {
			t.Errorf("%s depends on the time zone", c.name)
		}
	}
	for h := Hour(at) - 200; h < Hour(at)+200; h++ {
		if got, want := HourWeek(h), Week(h.HourStart()); got != want {
			t.Fatalf("hour %d: week %d, want %d", h, got, want)
		}
	}
}

// TestRedactionLooks proves that the looking finds what is not redacted.
func TestRedactionLooks(t *testing.T) {
	bare := struct{ b [32]byte }{[32]byte(bytes.Repeat([]byte{0xa7}, 32))}
	for _, verb := range []string{"%v", "%#v", "%x", "%08b"} {
		if leaks(fmt.Sprintf(verb, bare)) == "" {
			t.Errorf("%s of a bare secret goes unseen", verb)
		}
	}
}
