package wire

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

func usualOffer() *Offer {
	return &Offer{
		Kind: OfferNew, Generation: 1700000000000, ID: OfferID(mark(1)), Re: OfferID(mark(2)), Start: 3,
		Ufrag: [6]byte{0xfb, 0xef, 0xbe, 1, 2, 3}, Password: OfferPassword(bytes.Repeat([]byte{0xff}, 18)),
		Fingerprint: [32]byte(bytes.Repeat([]byte{4}, 32)), Link: LinkID(mark(5)),
		Candidates: []Candidate{
			{CandidateHost, netip.MustParseAddrPort("192.168.1.2:6881")},
			{CandidateHost, netip.MustParseAddrPort("[2001:db8::1]:6881")},
			{CandidateServerReflexive, netip.MustParseAddrPort("192.0.2.1:6881")},
			{CandidateRelayed, netip.MustParseAddrPort("198.51.100.1:49152")},
		},
	}
}

func restartOffer() *Offer {
	x := usualOffer()
	x.Kind, x.Candidates = OfferRestart, x.Candidates[:1]
	return x
}

func largestOffer() *Offer {
	x := restartOffer()
	x.Generation, x.Start, x.Candidates = max64, max64, nil
	for _, a := range endpoints(MaxCandidates) {
		x.Candidates = append(x.Candidates, Candidate{CandidateRelayed, a})
	}
	return x
}

// TestOfferSize: the largest offer fits the room that a state has for one.
func TestOfferSize(t *testing.T) {
	if got, want := len(AppendOffer(nil, largestOffer())), 258; got != want || got > MaxOffer {
		t.Errorf("the largest offer has %d bytes, want %d, at most %d", got, want, MaxOffer)
	}
	if got, want := len(AppendOffer(nil, &Offer{Kind: OfferNew, Generation: 1, ID: OfferID{1}})), 98; got != want {
		t.Errorf("the least offer has %d bytes, want %d", got, want)
	}
}

// TestOfferCredentials: ICE gets text of ice-char only, long enough for
// RFC 8445 section 5.3: 24 bits of user name, 128 of password.
func TestOfferCredentials(t *testing.T) {
	x := usualOffer()
	if got, want := x.ICEUfrag(), "++++AQID"; got != want {
		t.Errorf("user name fragment %q, want %q", got, want)
	}
	if got, want := x.ICEPassword(), strings.Repeat("/", 24); got != want {
		t.Errorf("password %q, want %q", got, want)
	}
}

// TestOfferPriority holds the figures of RFC 8445 section 5.1.2.1.
func TestOfferPriority(t *testing.T) {
	x := usualOffer()
	for i, want := range []uint32{126<<24 + 65535<<8 + 255, 126<<24 + 65534<<8 + 255, 100<<24 + 65533<<8 + 255, 65532<<8 + 255} {
		if got := x.Priority(i); got != want {
			t.Errorf("candidate %d: priority %d, want %d", i, got, want)
		}
	}
}

// TestOfferPasswordHidden: an offer may be logged.
func TestOfferPasswordHidden(t *testing.T) {
	x := usualOffer()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("offer", "password", x.Password)
	for _, text := range []string{
		fmt.Sprint(*x), fmt.Sprintf("%+v", *x), fmt.Sprintf("%#v", *x), fmt.Sprintf("%x", x.Password), fmt.Sprint(x.Password), log.String(),
	} {
		if !strings.Contains(text, "[redacted]") || strings.Contains(text, "255 255") || strings.Contains(text, "0xff, 0xff") || strings.Contains(text, strings.Repeat("f", 12)) {
			t.Errorf("printed as %q", text)
		}
	}
}
