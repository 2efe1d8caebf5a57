package carrier

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/gocarrier/carrier/crypto"
)

// The text of an identity is one of RFC 7468's form:
//
//	-----BEGIN CARRIER IDENTITY-----
//	base64 of crypto.SealPassphrase(passphrase, "carrier identity 1", export), 64 characters a line
//	-----END CARRIER IDENTITY-----
//
// It shows nothing of who it is, and how many friends there are only by its
// length.
const (
	identityBegin = "-----BEGIN CARRIER IDENTITY-----"
	identityEnd   = "-----END CARRIER IDENTITY-----"
	identityTag   = "carrier identity 1"
	identityLine  = 64

	// maxIdentityText is room for some ten thousand friends and bounds what a
	// decoder of somebody's file takes.
	maxIdentityText = 16 << 20
)

// SealIdentity makes a text of what ExportIdentity gave, under a passphrase, to
// be kept in a file or moved by any way: 7-bit, a few kilobytes with some dozens
// of friends. It returns ErrWrongIdentity for bytes that are no identity,
// ErrWrongPassphrase for an empty passphrase, and ErrTooLong above 16 MiB.
//
// The passphrase is all that protects the text: choose one as for money. Its
// bytes are taken as they are, see Config.Passphrase, as is the cost.
func SealIdentity(identity, passphrase []byte) (text []byte, err error) {
	const op = "seal identity"
	if _, err := parseExport(identity); err != nil {
		return nil, &Error{Op: op, Err: because(ErrWrongIdentity, err), Hint: "give it whole, as ExportIdentity made it"}
	}
	if len(passphrase) == 0 {
		return nil, emptyPassphrase(op)
	}
	text = encodeIdentity(crypto.SealPassphrase(passphrase, []byte(identityTag), identity))
	if len(text) > maxIdentityText {
		return nil, &Error{Op: op, Err: fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, len(text), maxIdentityText), Hint: "remove friends"}
	}
	return text, nil
}

// OpenIdentity returns what SealIdentity was given, for Config.Identity. Spaces,
// line ends of any kind, and what stands before and behind the text do not
// matter. It returns ErrWrongPassphrase, or, when the text is not whole,
// ErrWrongIdentity, or ErrNewer. A forged text can make it take 1 GiB of memory
// and some seconds, not more.
func OpenIdentity(text, passphrase []byte) (identity []byte, err error) {
	const op = "open identity"
	wrong := func(err error) error {
		return &Error{Op: op, Err: because(ErrWrongIdentity, err), Hint: "give the text whole, as SealIdentity made it"}
	}
	sealed, err := decodeIdentity(text)
	if err != nil {
		return nil, wrong(err)
	}
	if len(passphrase) == 0 {
		return nil, emptyPassphrase(op)
	}
	identity, err = crypto.OpenPassphrase(passphrase, []byte(identityTag), sealed)
	switch {
	case errors.Is(err, crypto.ErrPassphrase):
		return nil, &Error{Op: op, Err: ErrWrongPassphrase, Hint: "the text is whole; give the passphrase that it was sealed with"}
	case errors.Is(err, crypto.ErrVersion):
		return nil, &Error{Op: op, Err: because(ErrNewer, err), Hint: "open it with the newer version"}
	case err != nil:
		return nil, wrong(err)
	}
	if _, err := parseExport(identity); err != nil {
		return nil, wrong(err)
	}
	return identity, nil
}

func emptyPassphrase(op string) error {
	return &Error{Op: op, Err: fmt.Errorf("%w: it is empty", ErrWrongPassphrase), Hint: "give one that nobody guesses"}
}

// encodeIdentity puts sealed bytes into their text.
func encodeIdentity(sealed []byte) []byte {
	code := base64.StdEncoding.AppendEncode(nil, sealed)
	text := append([]byte(identityBegin), '\n')
	for len(code) > 0 {
		n := min(identityLine, len(code))
		text = append(append(text, code[:n]...), '\n')
		code = code[n:]
	}
	return append(append(text, identityEnd...), '\n')
}

// decodeIdentity finds the one text in what may be a letter around it, and
// returns its bytes.
func decodeIdentity(text []byte) ([]byte, error) {
	if len(text) > maxIdentityText {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(text), maxIdentityText)
	}
	_, rest, found := bytes.Cut(text, []byte(identityBegin))
	if !found {
		return nil, fmt.Errorf("there is no %q", identityBegin)
	}
	body, rest, found := bytes.Cut(rest, []byte(identityEnd))
	if !found {
		return nil, fmt.Errorf("it is cut short: there is no %q", identityEnd)
	}
	if bytes.Contains(rest, []byte(identityBegin)) {
		return nil, errors.New("there are two")
	}
	code := make([]byte, 0, len(body))
	for _, c := range body {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			code = append(code, c)
		}
	}
	sealed := make([]byte, base64.StdEncoding.DecodedLen(len(code)))
	n, err := base64.StdEncoding.Strict().Decode(sealed, code)
	if err != nil {
		return nil, fmt.Errorf("the text between the lines is changed or cut: %w", err)
	}
	return sealed[:n], nil
}
