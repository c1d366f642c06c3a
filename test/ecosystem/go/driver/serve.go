// Package driver answers to lines of JSON for a client in Go: {id, verb, ...} in, {id, result} or {id, error} out; each
// request has a goroutine of its own. What the verbs mean is said in test/interop/foreign-client.ts.
package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Wait is how long a verb waits for what it was asked to wait for.
const Wait = 25 * time.Second

// Ask has the fields of all verbs.
type Ask struct {
	ID         int               `json:"id"`
	Verb       string            `json:"verb"`
	Topic      string            `json:"topic"`
	RawTopics  json.RawMessage   `json:"topics"`
	Codec      string            `json:"codec"`
	Idempotent bool              `json:"idempotent"`
	Records    []Record          `json:"records"`
	Partition  int32             `json:"partition"`
	From       int64             `json:"from"`
	Count      int               `json:"count"`
	RawAt      json.RawMessage   `json:"at"`
	Member     string            `json:"member"`
	Group      string            `json:"group"`
	Groups     []string          `json:"groups"`
	Assignor   string            `json:"assignor"`
	Offset     int64             `json:"offset"`
	Name       string            `json:"name"`
	Total      int32             `json:"total"`
	Set        map[string]string `json:"set"`
	Remove     []string          `json:"remove"`
	Configs    map[string]string `json:"configs"`
	Broker     *int32            `json:"broker"`
	Before     int64             `json:"before"`
	Replicas   []int32           `json:"replicas"`
}

// Wish is a topic to be made.
type Wish struct {
	Topic       string            `json:"topic"`
	Partitions  int32             `json:"partitions"`
	Assignments [][]int32         `json:"assignments"`
	Configs     map[string]string `json:"configs"`
}

// Topics are names.
func (ask *Ask) Topics() (names []string, err error) {
	return names, json.Unmarshal(ask.RawTopics, &names)
}

// Wishes are topics to be made.
func (ask *Ask) Wishes() (wishes []Wish, err error) {
	return wishes, json.Unmarshal(ask.RawTopics, &wishes)
}

// At is a word, or a time in milliseconds where the word is empty.
func (ask *Ask) At() (word string, time int64, err error) {
	if json.Unmarshal(ask.RawAt, &word) == nil {
		return word, 0, nil
	}
	return "", time, json.Unmarshal(ask.RawAt, &time)
}

// Record is one as the tests say it: bytes are base64, null is null.
type Record struct {
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Offset    int64      `json:"offset"`
	Timestamp int64      `json:"timestamp"`
	Key       *[]byte    `json:"key"`
	Value     *[]byte    `json:"value"`
	Headers   [][2]Bytes `json:"headers"`
}

// Bytes are text where they are a header's name, and base64 where they are its value.
type Bytes struct {
	Text  string
	Value *[]byte
	named bool
}

// Header is a name and its value.
func Header(name string, value []byte) [2]Bytes {
	return [2]Bytes{{Text: name, named: true}, {Value: Nullable(value)}}
}

// MarshalJSON writes a name as it is, and a value as base64.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if b.named {
		return json.Marshal(b.Text)
	}
	return json.Marshal(b.Value)
}

// UnmarshalJSON keeps both readings, since only the place says which is meant.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var word *string
	if err := json.Unmarshal(text, &word); err != nil || word == nil {
		return err
	}
	b.Text = *word
	value := []byte{}
	// A name that is no base64 is no value.
	if json.Unmarshal(text, &value) == nil {
		b.Value = &value
	}
	return nil
}

// Raw is nil for null, and what is empty is not nil.
func Raw(value *[]byte) []byte {
	if value == nil {
		return nil
	}
	if *value == nil {
		return []byte{}
	}
	return *value
}

// Nullable is null for nil.
func Nullable(value []byte) *[]byte {
	if value == nil {
		return nil
	}
	return &value
}

// Verb answers one kind of request.
type Verb func(ask *Ask) (any, error)

// Serve answers until nobody asks any more.
func Serve(verbs map[string]Verb) {
	var lock sync.Mutex
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		ask := &Ask{}
		if err := json.Unmarshal(lines.Bytes(), ask); err != nil {
			panic(fmt.Sprintf("%v in %s", err, lines.Text()))
		}
		go func() {
			answer := map[string]any{"id": ask.ID}
			result, err := perform(verbs, ask)
			if err != nil {
				answer["error"] = err.Error()
			} else {
				answer["result"] = result
			}
			lock.Lock()
			defer lock.Unlock()
			if err := out.Encode(answer); err != nil {
				panic(err)
			}
		}()
	}
}

func perform(verbs map[string]Verb, ask *Ask) (result any, err error) {
	// Whatever goes wrong, whoever asked must hear of it.
	defer func() {
		if thrown := recover(); thrown != nil {
			err = fmt.Errorf("panic: %v", thrown)
		}
	}()
	verb, is := verbs[ask.Verb]
	if !is {
		return nil, fmt.Errorf("there is no verb %s", ask.Verb)
	}
	return verb(ask)
}
