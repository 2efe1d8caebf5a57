package vectors

import (
	"strings"
	"testing"
	"time"
)

// A figure is a number of the source that the specification tells.
type figure struct {
	dir, name string
	want      int64
	heading   string
	told      string // by these words
}

func seconds(f float64) int64 { return int64(f * float64(time.Second)) }

// figures are those that another implementation must know, or that its peer
// would notice. Whoever changes one in the source is led here, and to the words.
func figures() []figure {
	return []figure{
		{"internal/wire", "InitialLaneWindow", 512 << 10, "Lanes", "no byte at an offset of max or above | 512 KiB"},
		{"internal/wire", "InitialLinkWindow", 1 << 20, "Lanes", "highest byte sent + 1 | 1 MiB"},
		{"internal/wire", "InitialLanes", 128, "Lanes", "lane 0 not | 128"},
		{"internal/wire", "MaxAckRanges", 64, "Frames", "At most 64 ranges follow"},
		{"internal/wire", "MaxAckDelay", 25_000, "Frames", "more than 25,000 for 25,000"},
		{"internal/wire", "MaxCloseReason", 255, "Frames", "UTF-8 of at most 255 bytes"},
		{"internal/wire", "MaxLanes", 1 << 60, "Frames", "max, at most 2⁶⁰"},
		{"internal/wire", "MaxStreams", 1024, "Messages of sessions", "1 to 1,024"},
		{"internal/wire", "MaxMetadata", 8192, "Messages of sessions", "metadata at most 8,192"},
		{"internal/wire", "InFlight", 1024, "Delivery", "At most 1,024 numbers are in flight"},
		{"internal/wire", "MaxSkipped", 16, "Receipt", "number of skipped ranges, at most 16"},
		{"internal/wire", "MaxEndpoints", 8, "State", "number of endpoints, at most 8"},
		{"internal/wire", "MaxOffer", 320, "State", "bytes16 of 1 to 320"},
		{"internal/wire", "MaxMessage", 64 << 10, "Mail", "bytes32 of at most 65,536"},
		{"internal/wire", "MaxName", 64, "Profile", "text8 of at most 64"},
		{"internal/wire", "MaxHello", 256, "Request", "text16 of at most 256"},
		{"dht", "MaxValue", 900, "Use of the DHT", "at most 900 bytes"},
		{"dht", "walkMost", 96, "Use of the DHT", "at most 96 queries"},
		{"dht", "putAim", 8, "Use of the DHT", "where fewer than 8 took it"},
		{"dht", "putEnough", 3, "Use of the DHT", "It counts from 3 on"},
		{"dht", "tokenLife", seconds(240), "Use of the DHT", "younger than 4 minutes"},
		{"dht", "itemLife", seconds(48 * 3600), "Use of the DHT", "for 48 hours"},
		{"internal/courier", "exchangeEvery", seconds(10), "DHT slots", "10 s since the last echo"},
		{"internal/courier", "proofLife", seconds(30), "DHT slots", "online for 30 s after an echo"},
		{"internal/courier", "claimSends", 3, "DHT slots", "at most 3 datagrams a minute"},
		{"internal/courier", "mailLife", 60_000, "DHT slots", "more than 60,000 below"},
		{"internal/courier", "quietFactor", 6, "DHT slots", "six times longer on a metered line"},
		{"internal/courier", "announceEvery", seconds(900), "Friend requests", "again every 15 minutes"},
		{"internal/courier", "bellEvery", seconds(5), "Friend requests", "every 5 s"},
		{"internal/courier", "fixedEvery", seconds(1800), "Friend requests", "every 30 minutes"},
		{"internal/courier", "linkWindow", 256 << 10, "DHT slots", "at most 256 KiB of mail without receipt"},
		{"internal/friendship", "RequestLife", seconds(30 * 24 * 3600), "Friend requests", "expired (30 days)"},
		{"internal/friendship", "RefusalLife", seconds(7 * 24 * 3600), "Friend requests", "Refusals stay up for 7 days"},
		{"internal/friendship", "maxNumber", 1 << 62, "Friend requests", "above 2⁶²"},
		{"internal/delivery", "ForkInterval", seconds(60), "Delivery", "at most once a minute"},
		{"internal/delivery", "maxJump", 1024, "Delivery", "more than 1,024 above ours"},
		{"transport", "attemptLife", seconds(85), "Pairs and attempts", "lasts at most 85 s"},
		{"transport", "heldOffers", 4, "Pairs and attempts", "the newest four offers"},
		{"transport", "answerFor", seconds(900), "Pairs and attempts", "stands for 15 minutes"},
		{"transport", "restartFor", seconds(180), "Restarts", "for 3 minutes"},
		{"transport", "checkEvery", seconds(0.05), "ICE", "a check each 50 ms"},
		{"transport", "thinLimit", 100, "ICE", "at most 100"},
		{"transport", "thinInterval", seconds(0.6), "ICE", "one in 600 ms"},
		{"transport", "destinationRate", 20, "ICE", "20 datagrams a second"},
		{"transport", "relayWait", seconds(0.5), "ICE", "500 ms for relayed"},
		{"transport", "handshakeMTU", 1200, "DTLS", "at most 1,200 bytes of records"},
		{"transport", "flightInterval", seconds(0.25), "DTLS", "each 250 ms"},
		{"transport", "handshakeLimit", seconds(10), "DTLS", "not done after 10 s"},
		{"transport", "maxHandshake", 2048, "DTLS", "longer than 2,048 bytes"},
		{"transport", "exporterSize", 32, "Key schedule", "DTLS exports 32 bytes"},
		{"transport", "replayWindowSize", 8192, "Sealing", "the last 8,192 numbers"},
		{"transport", "packetSize", 1232, "Data packets", "Datagrams of 1,232 bytes"},
		{"transport", "askEvery", seconds(0.2), "Key confirmation", "each 200 ms"},
		{"transport", "confirmFor", seconds(20), "Key confirmation", "no ANSWER after 20 s"},
		{"transport", "maxPaths", 8, "Paths", "At most 8 are known"},
		{"transport", "challengeEvery", seconds(0.25), "Paths", "each 250 ms, 12 times"},
		{"transport", "challengeTries", 12, "Paths", "each 250 ms, 12 times"},
		{"transport", "maxAnswers", 4, "Paths", "at most 4 wait on a path"},
		{"transport", "provenFor", seconds(10), "Paths", "in the last 10 s"},
		{"transport", "betterFor", seconds(20), "Paths", "restarts the link for 20 s"},
		{"transport", "pingBusy", seconds(1), "Liveness", "for 1 s with lanes open"},
		{"transport", "pingIdle", seconds(7), "Liveness", "7 s with none"},
		{"transport", "suspectSilence", seconds(1.5), "Liveness", "not heard for 1.5 s"},
		{"transport", "suspectWait", seconds(0.5), "Liveness", "for 500 ms or four round trips"},
		{"transport", "suspectTrips", 4, "Liveness", "for 500 ms or four round trips"},
		{"transport", "deadAfter", seconds(12), "Liveness", "suspect for 12 s"},
		{"transport", "linger", seconds(0.4), "Closing", "400 ms later"},
		{"transport", "MaxControl", 128 << 10, "Control messages", "at most 131,072"},
		{"internal/session", "minWindow", 256 << 10, "Reliable streams", "at least 256 KiB"},
		{"internal/session", "sessionWindow", 16 << 20, "Reliable streams", "16 MiB ÷ limit"},
		{"internal/session", "maxEarly", 16, "Datagram streams", "Up to 16 that come before"},
		{"internal/session", "lingerTime", seconds(1), "Datagram streams", "or 1 s later"},
		{"internal/session", "maxRequests", 256, "Faults of sessions", "REQUEST beyond 256"},
		{"internal/session", "strayTime", seconds(5), "Faults of sessions", "no message names within 5 s"},
		{"internal/session", "laneTime", seconds(10), "Faults of sessions", "does not come within 10 s"},
		{"internal/session", "drainTime", seconds(30), "Sessions", "or 30 s"},
	}
}

// TestFigures holds the numbers that the specification tells against those of
// the source.
func TestFigures(t *testing.T) {
	spec := document(t, specFile)
	sources := map[string]*constants{}
	for _, f := range figures() {
		if sources[f.dir] == nil {
			sources[f.dir] = sourceOf(t, f.dir)
		}
		if got, ok := sources[f.dir].values[f.name]; !ok || got != f.want {
			t.Errorf("%s in %s is %d (%t), here it is %d: mend docs/SPEC.md, section %q, %q, too", f.name, f.dir, got, ok, f.want, f.heading, f.told)
		}
		if !strings.Contains(words(spec[f.heading].text), f.told) {
			t.Errorf("section %q does not say %q, which is %s in %s", f.heading, f.told, f.name, f.dir)
		}
	}
}
