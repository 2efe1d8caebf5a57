// Package transport keeps the links between friends: one link to each friend
// that is online, over UDP, through NATs, with keys of its own.
//
// Links are made in this order:
//
//   - Friends exchange offers, which the program carries: signed by their
//     identities, with ICE credentials, candidates and the fingerprint of a
//     throw-away certificate.
//   - ICE (RFC 8445) proposes addresses that work. It decides nothing: each
//     link has one path table, and a path counts when the peer has answered on
//     it under the link's keys.
//   - DTLS 1.2 (RFC 6347) makes keys and no more, as in DTLS-SRTP (RFC 5764).
//     Both ends pin the other's certificate to the offer. Once the keys are
//     confirmed, ICE and DTLS are gone, and a link outlives its addresses.
//   - All that a link carries goes in data packets, which hold frames:
//     reliable lanes, datagrams, acknowledgements, probes of paths.
//
// # Data packets
//
//	0   1  0xC0 and three protected bits: 1 key phase, 2 and 4 zero
//	1   8  connection ID
//	9   4  packet number, its low bytes, protected
//	13  …  frames, sealed, with a tag of 16 bytes at the end
//
// Bits and number are protected as in RFC 9001 section 5.4, so that a packet
// shows nothing but its connection ID, and this is another one on every path.
package transport
