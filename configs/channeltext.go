package configs

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// channelSettings are the keys of a channel in the order of its fields.
var channelSettings = settingsOf("channels", reflect.TypeFor[Channel]())

// autoCreateKey makes patterns of channels, which stand in the configuration only.
const autoCreateKey = "auto_create"

// ParseChannel reads the settings of one channel that is to have a name, in YAML or JSON, with the keys of the configuration. What
// they leave open has its default. Its errors are of type *Error; Key is that of the channel, without a place in a list.
func ParseChannel(name string, text []byte) (Channel, error) {
	d := &document{lines: map[string]int{}, values: map[string]any{}}
	c := Channel{Name: name}
	if err := d.readChannel(&c, text); err != nil {
		return Channel{}, ofOne(err)
	}
	said := func(key string) bool { _, ok := d.lines["channels[0]."+key]; return ok }
	switch {
	case said(autoCreateKey):
		return Channel{}, &Error{Key: autoCreateKey, Text: "expected in the configuration only"}
	case c.Name != name:
		return Channel{}, &Error{Key: "name", Text: fmt.Sprintf("expected %q, got %q", name, c.Name)}
	}
	c.Fill()
	if key, err := c.Check(); err != nil {
		return Channel{}, &Error{Key: key, Text: err.Error()}
	}
	return c, nil
}

// readChannel decodes a document that is one channel. An empty one says nothing.
func (d *document) readChannel(c *Channel, text []byte) error {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var root, second yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return d.syntaxError(err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return &Error{Text: "expected one channel, got more"}
	}
	if isEmpty(root.Content[0]) {
		return nil
	}
	values, err := d.value(setting{key: "channels", kind: reflect.TypeFor[Channel]()}, "channels[0]", root.Content[0])
	if err != nil {
		return err
	}
	v := viper.New()
	if err := v.MergeConfigMap(values.(map[string]any)); err != nil {
		return fmt.Errorf("configs: merging a channel: %w", err)
	}
	return v.Unmarshal(c)
}

// ofOne is an error about a channel that stands alone: its key names no list.
func ofOne(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	plain := *e
	plain.Where = strings.TrimPrefix(plain.Where, ":")
	if plain.Where != "" {
		plain.Where = "line " + plain.Where
	}
	plain.Key = strings.TrimPrefix(strings.TrimPrefix(plain.Key, "channels[0]"), ".")
	return &plain
}

// Set gives the setting that has this key in the configuration the value of a text.
func (c *Channel) Set(key, text string) error {
	i := slices.IndexFunc(channelSettings, func(s setting) bool { return s.key == "channels."+key })
	if i < 0 {
		return &Error{Key: key, Text: unknownKey(key, keysOf(reflect.TypeFor[Channel]()))}
	}
	value, err := channelSettings[i].parse(text)
	if err != nil {
		return &Error{Key: key, Text: err.Error()}
	}
	field := reflect.ValueOf(c).Elem().Field(i)
	field.Set(reflect.ValueOf(value).Convert(field.Type()))
	return nil
}

// Values are the settings by their keys in the configuration, in a form that JSON has and ParseChannel reads back.
func (c *Channel) Values() map[string]any {
	values := make(map[string]any, len(channelSettings))
	for i, key := range keysOf(reflect.TypeFor[Channel]()) {
		value := reflect.ValueOf(*c).Field(i).Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		if key != autoCreateKey || value != "" {
			values[key] = value
		}
	}
	return values
}

// Differ names the keys whose values are not the same in two channels.
func (c *Channel) Differ(other *Channel) (keys []string) {
	for i, key := range keysOf(reflect.TypeFor[Channel]()) {
		if reflect.ValueOf(*c).Field(i).Interface() != reflect.ValueOf(*other).Field(i).Interface() {
			keys = append(keys, key)
		}
	}
	return keys
}
