package session

import "encoding/binary"

// Frames of smux, version 2.
const (
	smuxVersion = 2

	cmdSYN = 0
	cmdFIN = 1
	cmdPSH = 2
	cmdNOP = 3
	cmdUPD = 4

	frameHeader = 8
	updLength   = 8
	// maxFrame is how much of a stream goes into one frame: what another stream
	// waits for.
	maxFrame = 16 << 10

	// In an UPD whose window is 0, consumed says why nobody reads any more.
	goneClosed  = 0
	goneRefused = 1
)

type header struct {
	version, command byte
	length           int
	stream           uint32
}

func parseHeader(b []byte) header {
	return header{
		version: b[0], command: b[1],
		length: int(binary.LittleEndian.Uint16(b[2:])), stream: binary.LittleEndian.Uint32(b[4:]),
	}
}

func appendHeader(dst []byte, command byte, stream uint32, length int) []byte {
	dst = binary.LittleEndian.AppendUint16(append(dst, smuxVersion, command), uint16(length))
	return binary.LittleEndian.AppendUint32(dst, stream)
}

func appendUpdate(dst []byte, stream, consumed, window uint32) []byte {
	dst = appendHeader(dst, cmdUPD, stream, updLength)
	dst = binary.LittleEndian.AppendUint32(dst, consumed)
	return binary.LittleEndian.AppendUint32(dst, window)
}
