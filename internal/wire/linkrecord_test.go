package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gocarrier/carrier/crypto"
)

// TestLargestLinkRecord packs a batch by the constants and seals it as it goes
// out.
func TestLargestLinkRecord(t *testing.T) {
	m := usualMail()
	room := MaxLinkItems
	m.Items = nil
	for room > 0 {
		body := min(room-ItemOverhead, MaxMessage)
		m.Items = append(m.Items, Item{ID: messageID(1), Body: bytes.Repeat([]byte{'m'}, body)})
		room -= ItemOverhead + body
	}
	sealed, err := crypto.NewPrekey().Public().Seal(nil, nil, AppendSigned(nil, crypto.Signature{}, AppendMail(nil, m)))
	if err != nil {
		t.Fatal(err)
	}
	b := AppendLinkRecord(nil, KindMail, AppendMailBody(nil, 1, sealed))
	if len(b) != MaxLinkRecord {
		t.Errorf("the fullest batch is a record of %d bytes, want %d", len(b), MaxLinkRecord)
	}
	if kind, body, err := ParseLinkRecord(b); err != nil || kind != KindMail || len(body) != len(b)-1 {
		t.Errorf("read as kind %d of %d bytes: %v", kind, len(body), err)
	}
	if _, _, err := ParseLinkRecord(append(b, 0)); !errors.Is(err, ErrValue) {
		t.Errorf("a record above the limit: got %v, want ErrValue", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a record above the limit was written")
		}
	}()
	AppendLinkRecord(nil, KindMail, b)
}

func TestKindsOfLinkRecords(t *testing.T) {
	for kind := range Kind(255) {
		want := kind == KindState || kind == KindProfile || kind == KindMail || kind == KindReceipt
		_, _, err := ParseLinkRecord([]byte{byte(kind), 1, 2, 3})
		if (err == nil) != want || err != nil && !errors.Is(err, ErrKind) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
}
