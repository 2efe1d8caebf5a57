// Package crypto holds the keys of a carrier node: the [Identity] behind an
// [ID], the [Address] that lets strangers ask for friendship, the [Pair] of
// secrets that two friends share, signatures over a [Transcript], and the
// seals ([Key], [Prekey], [ID.Seal], [SealPassphrase]).
//
// The algorithms are fixed: Ed25519 (RFC 8032) signs, X25519 (RFC 7748)
// agrees, HKDF-SHA256 (RFC 5869) derives, XChaCha20-Poly1305 seals between
// friends, HPKE (RFC 9180) seals to one key, and Argon2id (RFC 9106) makes a
// key of a passphrase. An identity has one key for signing and agreement; its
// X25519 form is the Ed25519 key taken through the birational map.
//
// # What may be believed
//
// Both friends of a pair derive the same keys, so a value that opens under a
// pair key only shows that it comes from one of the two. What a friend says
// counts by the signature of the friend's own key over a [Transcript], never
// by the seal around it: whoever steals my key can read what friends send me,
// but cannot speak to me in their name.
//
// # Points
//
// Every ID that comes from outside is checked by [ID.Valid]: the canonical
// encoding of a point of prime order. This leaves one ID for each key, and no
// ID whose signatures or shared secrets are the same for everybody.
//
// # Secrets
//
// [Identity], [Pair], [Key] and [Prekey] print, log and marshal as
// "[redacted]", cannot be compared by ==, and compare in constant time by
// Equal. The names of methods that give the secret itself begin with Insecure.
//
// # Derivation labels
//
// All labels are ASCII without a terminator, integers are big-endian:
//
//	pair secret     HKDF-Extract(salt "carrier/1 pair" ‖ lower ID ‖ higher ID, IKM X25519)
//	slot seed       HKDF-Expand(pair, "carrier/1 slot" ‖ direction(1) ‖ week(4), 32)
//	pair key        HKDF-Expand(pair, "carrier/1 key" ‖ direction(1) ‖ week(4), 32)
//	tag             HKDF-Expand(pair, "carrier/1 tag" ‖ direction(1) ‖ hour(4), 8)
//	address secret  HKDF-Extract(salt "carrier/1 address", IKM ID ‖ nospam)
//	request seed    HKDF-Expand(address, "carrier/1 request slot" ‖ day(4) ‖ bucket(4), 32)
//	request bell    HKDF-Expand(address, "carrier/1 request bell" ‖ day(4), 20)
//
// All functions and methods are safe for concurrent use; no value of this
// package changes after it was made.
package crypto
