package decoder

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// layout decodes all of some bytes.
type layout func(b []byte) (any, error)

func of[T any](read func(*reader) T) layout {
	return func(b []byte) (any, error) { return whole(b, read) }
}

// frameOf decodes one frame of a kind.
func frameOf(kinds ...uint8) layout {
	return func(b []byte) (any, error) {
		f, err := whole(b, readFrame)
		if err != nil {
			return nil, err
		}
		for _, kind := range kinds {
			if f.Kind == kind {
				return f.Value, nil
			}
		}
		return nil, Kind
	}
}

func recordLayouts() map[string]layout {
	return map[string]layout{
		"state": of(readState), "window": of(readWindow), "receipt": of(readReceipt), "note": of(readNote),
		"profile": of(readProfile), "mail": of(readMail), "item": of(readItem), "part": of(readPart),
		"hello": of(readHello), "request": of(readRequest), "offer": of(readOffer),
		"sequence": of(readSequence), "plain": of(readPlaintext), "signed": of(readSigned),
		"mailbody": of(readMailBody), "linkrecord": of(readLinkRecord), "envelope": of(readEnvelope),
		"range": of(readRange),
	}
}

func frameLayouts() map[string]layout {
	return map[string]layout{
		"padding": frameOf(framePadding), "ping": frameOf(framePing), "ack": frameOf(frameAck),
		"close": frameOf(frameClose), "linkwindow": frameOf(frameLinkWindow),
		"lanewindow": frameOf(frameLaneWindow), "lanes": frameOf(frameLanes), "reset": frameOf(frameReset),
		"stop": frameOf(frameStop), "challenge": frameOf(frameChallenge), "response": frameOf(frameResponse),
		"datagram": frameOf(frameDatagram), "ask": frameOf(frameAsk), "answer": frameOf(frameAnswer),
		"data": frameOf(frameData, frameDataFin), "packet": of(readPacket), "session": of(readMessage),
	}
}

func TestRecords(t *testing.T) { testLayouts(t, "records", recordLayouts()) }

func TestFrames(t *testing.T) { testLayouts(t, "frames", frameLayouts()) }

func testLayouts(t *testing.T, dir string, layouts map[string]layout) {
	files, err := filepath.Glob(filepath.Join(vectorsDir, dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(layouts) {
		t.Errorf("%d layouts for %d files", len(layouts), len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var v struct {
				Layout string
				Cases  []struct {
					Name, Fault string
					Bytes       Hex
					Fields      any
				}
			}
			readJSON(t, file, &v)
			decode := layouts[v.Layout]
			if decode == nil || len(v.Cases) == 0 {
				t.Fatalf("layout %s with %d cases", v.Layout, len(v.Cases))
			}
			for _, c := range v.Cases {
				got, err := decode(c.Bytes)
				var fault Fault
				if errors.As(err, &fault); string(fault) != c.Fault {
					t.Errorf("%s: %v, want fault %q", c.Name, err, c.Fault)
					continue
				}
				if err == nil && !reflect.DeepEqual(fields(t, got), c.Fields) {
					t.Errorf("%s: %v, want %v", c.Name, fields(t, got), c.Fields)
				}
			}
		})
	}
}

// fields is a value as JSON has it.
func fields(t *testing.T, v any) (f any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}
