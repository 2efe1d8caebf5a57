package transport

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// buildSTUN makes a message by pion's encoder.
func buildSTUN(t testing.TB, setters ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(setters...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// checkOf makes a check as an agent would send it, with the transaction ID n.
func checkOf(t testing.TB, local, remote string, n byte) []byte {
	t.Helper()
	return buildSTUN(t, stun.BindingRequest, stun.NewTransactionIDSetter([12]byte{n}), stun.NewUsername(local+":"+remote),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{1, 2, 3, 4}},
		stun.NewShortTermIntegrity("a password of some length"), stun.Fingerprint)
}

// answerOf makes the answer to a check.
func answerOf(t testing.TB, n byte, mapped netip.AddrPort) []byte {
	t.Helper()
	return buildSTUN(t, stun.BindingSuccess, stun.NewTransactionIDSetter([12]byte{n}),
		&stun.XORMappedAddress{IP: mapped.Addr().AsSlice(), Port: int(mapped.Port())},
		stun.NewShortTermIntegrity("a password of some length"), stun.Fingerprint)
}

func TestParseSTUN(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("[2001:db8::7]:65535")
	b := checkOf(t, "mine", "theirs", 9)
	m, ok := parseSTUN(b)
	if !ok || m.class != stunRequest || m.method != stunBinding || m.id != (stunID{9}) {
		t.Fatalf("request: got %+v, %v", m, ok)
	}
	if got := m.localUfrag(); got != "mine" {
		t.Errorf("localUfrag = %q, want mine", got)
	}
	for _, want := range []netip.AddrPort{v4, v6} {
		m, ok := parseSTUN(answerOf(t, 3, want))
		if !ok || m.class != stunSuccess || m.id != (stunID{3}) {
			t.Fatalf("answer: got %+v, %v", m, ok)
		}
		if got, ok := m.mapped(); got != want || !ok {
			t.Errorf("mapped = %v, %v, want %v", got, ok, want)
		}
	}
	m, ok = parseSTUN(buildSTUN(t, stun.BindingError, stun.TransactionID, stun.CodeRoleConflict))
	if !ok || m.class != stunError || m.errorCode() != 487 {
		t.Errorf("error: got class %d, code %d, %v, want an error of code 487", m.class, m.errorCode(), ok)
	}
	m, ok = parseSTUN(buildSTUN(t, stun.NewType(stun.MethodSend, stun.ClassIndication), stun.TransactionID))
	if !ok || m.class != stunIndication || m.method != uint16(stun.MethodSend) {
		t.Errorf("indication: got %+v, %v, want method %d", m, ok, stun.MethodSend)
	}
}

func TestParseSTUNRefuses(t *testing.T) {
	good := checkOf(t, "mine", "theirs", 1)
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], to)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":                 nil,
		"a header cut short":      good[:19],
		"a message cut short":     good[:len(good)-4],
		"bytes after the end":     append(bytes.Clone(good), 0, 0, 0, 0),
		"another first byte":      change(0, 4),
		"another cookie":          change(4, 0),
		"a length that is no × 4": append(change(2, 0, byte(len(good)-20+1)), 0),
		"an attribute too long":   change(22, 0xFF, 0xFF),
	} {
		if _, ok := parseSTUN(b); ok {
			t.Errorf("%s was taken for a STUN message", name)
		}
	}
}

func TestSTUNAttributesRefused(t *testing.T) {
	id := stun.NewTransactionIDSetter([12]byte{1})
	for name, value := range map[string]string{"no colon": "mine", "nothing before the colon": ":theirs", "empty": ""} {
		m, ok := parseSTUN(buildSTUN(t, stun.BindingRequest, id, stun.RawAttribute{Type: stun.AttrUsername, Value: []byte(value)}))
		if got := m.localUfrag(); !ok || got != "" {
			t.Errorf("a user name with %s: got %q, %v", name, got, ok)
		}
	}
	m, ok := parseSTUN(buildSTUN(t, stun.BindingRequest, id, stun.NewShortTermIntegrity("x"), stun.NewUsername("mine:theirs")))
	if got := m.localUfrag(); !ok || got != "" {
		t.Errorf("a user name behind the integrity: got %q, %v", got, ok)
	}
	for name, value := range map[string][]byte{
		"none":                  nil,
		"a family that is none": {0, 3, 1, 1, 1, 1, 1, 1},
		"an address cut short":  {0, 2, 1, 1, 1, 1, 1, 1},
		"port 0":                {0, 1, 0x21, 0x12, 1, 1, 1, 1},
		"0.0.0.0":               {0, 1, 1, 1, 0x21, 0x12, 0xA4, 0x42},
		"broadcast":             {0, 1, 1, 1, 0xDE, 0xED, 0x5B, 0xBD},
	} {
		m, ok := parseSTUN(buildSTUN(t, stun.BindingSuccess, id, stun.RawAttribute{Type: stun.AttrXORMappedAddress, Value: value}))
		if got, usable := m.mapped(); !ok || usable {
			t.Errorf("a mapped address with %s: got %v, %v", name, got, ok)
		}
	}
}

// TestBindingRequest holds that pion understands the request to STUN servers.
func TestBindingRequest(t *testing.T) {
	b := bindingRequest(stunID{1, 2, 3})
	var m stun.Message
	if err := stun.Decode(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.Type != stun.BindingRequest || m.TransactionID != [12]byte{1, 2, 3} || len(m.Attributes) != 0 {
		t.Errorf("pion reads %v", &m)
	}
}

// FuzzSTUNMessage holds the parser against pion's: what it takes pion takes, with the same meaning.
func FuzzSTUNMessage(f *testing.F) {
	f.Add(checkOf(f, "mine", "theirs", 1))
	f.Add(answerOf(f, 2, netip.MustParseAddrPort("192.0.2.1:4000")))
	f.Add(answerOf(f, 3, netip.MustParseAddrPort("[2001:db8::7]:1")))
	f.Add(buildSTUN(f, stun.BindingRequest, stun.TransactionID, stun.NewShortTermIntegrity("x"), stun.NewUsername("mine:theirs")))
	f.Add(buildSTUN(f, stun.BindingError, stun.TransactionID, stun.CodeRoleConflict))
	f.Add(buildSTUN(f, stun.NewType(stun.MethodData, stun.ClassIndication), stun.TransactionID))
	f.Add(bindingRequest(stunID{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseSTUN(b)
		if !ok {
			return
		}
		ufrag := m.localUfrag()
		mapped, usable := m.mapped()
		m.errorCode()
		var p stun.Message
		if err := stun.Decode(b, &p); err != nil {
			t.Fatalf("pion refuses what was taken: %v", err)
		}
		if m.id != stunID(p.TransactionID) || m.method != uint16(p.Type.Method) || m.class != stunClass(p.Type.Class) {
			t.Fatalf("got class %d, method %#x, pion has %v", m.class, m.method, p.Type)
		}
		var name stun.Username
		if ufrag != "" && (name.GetFrom(&p) != nil || !bytes.HasPrefix(name, []byte(ufrag+":"))) {
			t.Fatalf("ufrag %q, pion has %q", ufrag, name)
		}
		var x stun.XORMappedAddress
		// A family that pion reads with the byte before it, which is to be ignored, and an attribute it takes for the same.
		v, _ := m.attr(stunXORMapped)
		if _, old := m.attr(0x8020); !usable || old || v[0] != 0 {
			return
		}
		if err := x.GetFrom(&p); err != nil {
			t.Fatalf("pion has no mapped address: %v", err)
		}
		if want := unmapped((&net.UDPAddr{IP: x.IP, Port: x.Port}).AddrPort()); mapped != want {
			t.Fatalf("mapped %v, pion has %v", mapped, want)
		}
	})
}
