package configs

import "reflect"

// fillUnsaid copies the fields whose key was not said from defaults to the structure that target points to. It is for
// structures in lists, whose defaults viper cannot merge.
func fillUnsaid(target, defaults any, said func(key string) bool) {
	to, from := reflect.ValueOf(target).Elem(), reflect.ValueOf(defaults)
	for i := range from.NumField() {
		if key := from.Type().Field(i).Tag.Get("mapstructure"); !said(key) {
			to.Field(i).Set(from.Field(i))
		}
	}
}
