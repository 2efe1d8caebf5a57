package main

import (
	"strings"
	"testing"
)

const (
	aliceID = "9ANTWug4LdvEGsMRhePRALSsAfKJTuUtyncJmPR4WSFU"
	bobID   = "BWjDXmAxDA9an88pGhmgFrWpjcgBzCN5i8oieWXjx4Ta"
)

// transcript makes lines of a text: what was told begins with ">", a "kill" or
// an "end" begins another life, and A, B and m1 stand for IDs.
func transcript(t *testing.T, text string) []line {
	t.Helper()
	var lines []line
	life := 1
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" {
			continue
		}
		l = strings.NewReplacer(" A ", " "+aliceID+" ", " B ", " "+bobID+" ").Replace(l)
		for i := range 5 {
			name := "m" + string(rune('1'+i))
			l = strings.ReplaceAll(l, name, strings.Repeat("0", 31)+name[1:])
		}
		switch rest, isTold := strings.CutPrefix(l, "> "); {
		case isTold:
			lines = append(lines, line{life: life, from: told, text: rest})
		case l == "kill":
			lines = append(lines, line{life: life, from: noted, text: "killed"})
			life++
		case l == "end":
			life++
		default:
			e, err := parse(l)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line{life: life, from: said, text: l, event: e})
		}
	}
	return lines
}

func TestJudge(t *testing.T) {
	const sender = `
		> /msg B one
		sent: B m1
		> /msg B two
		sent: B m2
		stored: B m1
		delivered: B m1
		kill
		delivered: B m1
		> /msg B three
		sent: B m3
		delivered: B m2
		delivered: B m3
	`
	const receiver = `
		message: A m1 live "one"
		message: A m2 live "two"
		kill
		ready
		message: A m2 offline "two"
		message: A m3 live "three"
	`
	const good = "3 told, 3 sent, 3 shown, 3 delivered, 1 repeats"
	for _, test := range []struct {
		name             string
		sender, receiver string // replaced in the above: "old → new"
		want             string // the verdict, or a part of the error
		waiting          int
	}{
		{"good", "", "", good, 0},
		{"no receipt yet", "delivered: B m3 → ", "", "3 told, 3 sent, 3 shown, 2 delivered, 1 repeats", 1},
		{"not shown yet", "", `message: A m3 live "three" → `, "3 told, 3 sent, 2 shown, 3 delivered, 1 repeats", 1},
		{"killed before it was said to be sent", "sent: B m2 → ", "", "3 told, 2 sent, 3 shown, 2 delivered, 1 repeats", 0},
		{"killed before it was shown", "", `message: A m2 live "two" → `, "3 told, 3 sent, 3 shown, 3 delivered, 0 repeats", 0},
		{"left out", "", `message: A m1 live "one" → `, "was sent, and what was told later is shown before it", -1},
		{"shown twice in a life", "", `message: A m2 live "two" → message: A m2 live "two"; message: A m2 live "two"`, "shown again in life 1", -1},
		{"shown again after a later one", "", `message: A m2 offline "two" → message: A m3 live "three"; message: A m2 live "two"`, "not as the first", -1},
		{"an older one is shown again", "", `message: A m2 offline "two" → message: A m1 live "one"`, "not as the first", -1},
		{"shown again after an end in order", "", "kill → end", "shown again after an end in order", -1},
		{"shown again as another text", "", `message: A m2 offline "two" → message: A m2 offline "one"`, `shown as "two" and then as "one"`, -1},
		{"the same text as another message", "", `message: A m2 offline "two" → message: A m4 live "two"`, "two MSGIDs", -1},
		{"never told", "", `message: A m3 live "three" → message: A m3 live "four"`, "never told", -1},
		{"out of order", "", `message: A m1 live "one" → message: A m3 live "three"; message: A m1 live "one"`, "after what was told later", -1},
		{"texts of two exchanged", "", `message: A m1 live "one" → message: A m2 live "one"`, `shown as "one" and then as "two"`, -1},
		{"another MSGID at the sender", "sent: B m3 → sent: B m4", "", "", 1},
		{"sent twice", "sent: B m3 → sent: B m2", "", "sent twice", -1},
		{"sent in another order", "sent: B m1 → ", "", `told as "one" got the MSGID of "two"`, -1},
		{"sent more than told", "sent: B m3 → sent: B m3; sent: B m4", "", "sent more", -1},
		{"delivered twice in a life", "delivered: B m3 → delivered: B m3; delivered: B m3", "", "delivered twice", -1},
		{"failed", "delivered: B m3 → failed: B m3 expired", "", "expired", -1},
		{"error", "delivered: B m3 → error: \"/msg: the outbox is full\"", "", "outbox is full", -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := func(text, change string) []line {
				if old, fresh, ok := strings.Cut(change, " → "); ok {
					if !strings.Contains(text, old) {
						t.Fatalf("nothing to change: %q", old)
					}
					text = strings.Replace(text, old, strings.ReplaceAll(fresh, "; ", "\n"), 1)
				}
				return transcript(t, text)
			}
			v, err := judge(change(sender, test.sender), change(receiver, test.receiver), aliceID, bobID)
			got := v.String()
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if test.waiting >= 0 && (err != nil || len(v.waiting) != test.waiting) {
				t.Errorf("got %v and %d waiting, want %d", err, len(v.waiting), test.waiting)
			}
		})
	}
}

func TestParse(t *testing.T) {
	id, message, sum := aliceID, strings.Repeat("ab", 16), strings.Repeat("cd", 32)
	for _, good := range []string{
		"ready", "end", "id: " + id, "address: " + id + id[:20], "request: " + id + ` ""`, "friend: " + id + " added",
		"message: " + id + " " + message + ` live "a \"b\" \x1b č"`, "failed: " + id + " " + message + " expired",
		"file: " + id + ` "a b" 0`, "received: " + id + ` "/a b" 10 ` + sum, "filefailed: " + id + ` "a" "b"`,
		"friends: " + id + ` online "Bob B" lan`, "help: /me", `error: "/msg: no"`,
	} {
		if _, err := parse(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "ready:", "ready ", "Ready", "id:", "id: short", "id:  " + id, "friend: " + id, "friend: " + id + " gone", "friend: " + id + " added ",
		"sent: " + id + " " + message[:30], "sent: " + id + " " + strings.ToUpper(message), "message: " + id + " " + message + " live text",
		"message: " + id + " " + message + ` live "č` + "\x1b" + `"`, "message: " + id + " " + message + " live `a`", "message: " + id + " " + message + ` later "a"`,
		"file: " + id + ` "a" -1`, "file: " + id + ` "a" 01`, "received: " + id + ` "a" 1 ` + sum[:60],
		`error: "no command"`, `error: "/msg: "`, "panic: runtime error", "\x1b[1mready",
	} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken for a line of the protocol", bad)
		}
	}
}
