// Package wire encodes and decodes every record and frame that carrier nodes
// exchange, and gives rooms with durable rows the tools to encode theirs
// ([Reader] and the Append functions).
//
// Integers are big-endian and of fixed width, times unix milliseconds in 8
// bytes with the top bit clear, variable bytes stand after their length,
// strings are UTF-8, an address is family (4, 6 or 0 for none) ‖ IP ‖ port.
// Every encoding is canonical: what a Parse function accepts, the Append
// function of the same name gives back byte by byte, and bytes that follow
// the end are an error.
//
// From the outside in, format 1:
//
//	envelope datagram   0xC8 ‖ tag(8) ‖ sealed plaintext
//	DHT slot value      sealed plaintext
//	request value       plaintext sealed to the target's identity
//	plaintext           kind(1) ‖ length(2) ‖ body ‖ zeros up to a fixed size
//	body of mail        prekey number(8) ‖ signature(64) and record, sealed to the prekey
//	body of the others  signature(64) ‖ record
//	record              format(1) ‖ fields
//
// Each record begins with its format. A later format may lay the rest out
// anew or append to it; it goes only to readers whose state record says that
// they speak it, and readers drop what they do not speak ([ErrFormat]). What
// is nested in a record (receipt, window, item) has the record's format.
package wire

// Format is the format of every record and envelope described here; a state
// record carries the highest one that its node speaks.
const Format = 1

// Kind says what the plaintext of an envelope or slot value holds.
type Kind uint8

// The kinds of format 1.
const (
	KindState   Kind = 1
	KindProfile Kind = 2
	KindMail    Kind = 3
	KindReceipt Kind = 4
	KindHello   Kind = 5
	KindRequest Kind = 6
)

// Limits of records, in bytes or elements.
const (
	MaxValue     = 900  // a DHT value, sealed
	MaxDatagram  = 1408 // an envelope datagram
	MaxHello     = 256  // the text of a friend request
	MaxName      = 64
	MaxDescr     = 255
	MaxEndpoints = 8
	MaxSlots     = 8   // mail slots of one direction
	MaxSkipped   = 16  // skipped ranges in a receipt
	MaxItems     = 255 // items of one batch
	MaxOffer     = 320 // an offer of the transport, opaque here
	InFlight     = 1024
	MaxDirect    = 1100 // a message body that goes by one datagram
	MaxMessage   = 64 << 10
)
