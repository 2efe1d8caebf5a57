package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/gocarrier/carrier"
)

func TestWho(t *testing.T) {
	ids := []carrier.ID{
		mustID(t, "3fYi3Ztk187f1maiB2Z4RfXEFSXV9posyRKDHCmc32B7"),
		mustID(t, "3ftLaXXd5bAb6JuSGa6DDnG1eY5iW78soKX8qDbzyceo"),
		mustID(t, "FUKjjULaCnLWBXo3nSnmeT3gjLncLYF3e3NjaC35yKnY"),
		mustID(t, "D1uBzfBEynshVLwzAnCxzRagei61bYs1m1s6iFSnX7bQ"),
	}
	among := []named{{ids[0], ""}, {ids[1], "Bob"}, {ids[2], "Bobby Tables"}, {ids[3], "3f"}}
	const nobody, several = -1, -2
	for word, want := range map[string]int{
		ids[0].String():            0,
		ids[0].DIDKey():            0,
		ids[0].String()[:3]:        0,
		"3ft":                      1,
		"Bob":                      1, // a whole label before the beginning of another
		"Bobb":                     2,
		"F":                        2,
		"Bo":                       several,
		"3f":                       3, // a whole label before the beginning of IDs
		"3":                        several,
		"bob":                      nobody,
		"zz":                       nobody,
		"Bobby Tables and on":      nobody,
		strings.Repeat("x", 1<<16): nobody,
		mustID(t, "5wZby4cZ7kGCmavMPoHpRX7d7zppi9yijbkLPWrHWegL").String(): nobody,
	} {
		id, err := who(word, among)
		switch {
		case want == nobody && (!errors.Is(err, errNobody) || len(err.Error()) > 200):
			t.Errorf("who(%.50q): %v, want nobody", word, err)
		case want == several && (err == nil || !strings.Contains(err.Error(), "people")):
			t.Errorf("who(%.50q): %v, want several", word, err)
		case want >= 0 && (err != nil || id != ids[want]):
			t.Errorf("who(%.50q) = %v, %v, want %v", word, id, err, ids[want])
		}
	}
	same := []named{{ids[0], "Eve"}, {ids[1], "Eve"}}
	if _, err := who("Eve", same); err == nil {
		t.Error("a label of two people has named one")
	}
}

func mustID(t *testing.T, s string) carrier.ID {
	t.Helper()
	var id carrier.ID
	if err := id.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return id
}
