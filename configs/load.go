package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/viper"
)

// A Flag is a setting from the command line.
type Flag struct {
	Name  string // as typed, for errors: "--admin-address"
	Key   string // "admin.address"
	Value string // as in an environment variable
}

// Load reads the configuration: defaults, then the YAML file at path (none if path is empty), then environment
// variables, then flags; the later wins. It reports the first mistake it finds, as an *Error.
//
// The variable of a key is its name in capitals with PENSTOCK_ in front and _ between, for
// instance PENSTOCK_ADMIN_ADDRESS. PENSTOCK_LISTENERS, and a flag for the key "listeners", take
// the URLs of ParseListener, separated by commas, and replace the listeners of the file.
func Load(path string, flags []Flag) (Config, error) {
	src := sources{file: &document{}, overrides: map[string]string{}}
	if path != "" {
		d, err := readFile(path)
		if err != nil {
			return Config{}, err
		}
		src.file = d
	}
	v := viper.New()
	for _, s := range settings {
		v.SetDefault(s.key, valueAt(Default(), s.key))
	}
	if err := v.MergeConfigMap(src.file.values); err != nil {
		return Config{}, fmt.Errorf("configs: merging %s: %w", path, err)
	}
	environment, err := fromEnvironment(os.Environ())
	if err != nil {
		return Config{}, err
	}
	for _, f := range append(environment, flags...) {
		value, err := f.parse()
		if err != nil {
			return Config{}, err
		}
		v.Set(f.Key, value)
		src.overrides[f.Key] = f.Name
	}
	var c Config
	if err := v.Unmarshal(&c); err != nil {
		return Config{}, fmt.Errorf("configs: decoding: %w", err)
	}
	if err := c.complete(src); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Check reports the first mistake in the file at path, read as Load would read it.
func Check(path string) error {
	_, err := Load(path, nil)
	return err
}

func readFile(path string) (*document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Where: path, Text: "expected a readable file: " + reason(err)}
	}
	return readDocument(path, text)
}

// reason is an error of the file system without the path, which stands elsewhere in the line.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// parse turns the value of a flag or variable into that of its key.
func (f Flag) parse() (any, error) {
	for _, s := range settings {
		if s.key != f.Key {
			continue
		}
		switch s.kind {
		case reflect.TypeFor[[]Listener]():
			return f.listeners()
		case reflect.TypeFor[[]Bridge]():
			return nil, &Error{Where: f.Name, Key: f.Key, Text: "expected bridges in the file only"}
		}
		if s.kind.Kind() == reflect.Slice {
			return nil, &Error{Where: f.Name, Key: f.Key, Text: "expected in the file: a list has no other form"}
		}
		value, err := s.parse(strings.TrimSpace(f.Value))
		if err != nil {
			return nil, &Error{Where: f.Name, Key: f.Key, Text: err.Error()}
		}
		return value, nil
	}
	return nil, &Error{Where: f.Name, Key: f.Key, Text: unknownKey(f.Key, allKeys())}
}

func (f Flag) listeners() ([]Listener, error) {
	var found []Listener
	for _, text := range strings.Split(f.Value, ",") {
		l, err := ParseListener(strings.TrimSpace(text))
		if err != nil {
			return nil, &Error{Where: f.Name, Key: f.Key, Text: err.Error()}
		}
		found = append(found, l)
	}
	return found, nil
}

func allKeys() []string {
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.key
	}
	return keys
}

// valueAt is the value of a key outside lists.
func valueAt(c Config, key string) any {
	v := reflect.ValueOf(c)
	for name := range strings.SplitSeq(key, ".") {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("mapstructure") == name {
				v = v.Field(i)
				break
			}
		}
	}
	return v.Interface()
}

// Sources are where values came from, to name the place of a mistake that only shows when all are known.
type sources struct {
	file      *document
	overrides map[string]string // key -> variable or flag
}

// mistake makes the Error for a key, placed where its value was set, or failing that what surrounds it.
func (s sources) mistake(key, format string, args ...any) error {
	e := &Error{Key: key, Text: fmt.Sprintf(format, args...)}
	for at := key; at != ""; at = parent(at) {
		if name, ok := s.overrides[at]; ok {
			e.Where = name
			return e
		}
	}
	for at := key; at != ""; at = parent(at) {
		if line, ok := s.file.lines[at]; ok {
			e.Where = s.file.name + ":" + strconv.Itoa(line)
			return e
		}
	}
	e.Where = s.file.name
	return e
}

// parent of "listeners[1].cert" is "listeners[1]", whose parent is "listeners".
func parent(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }
