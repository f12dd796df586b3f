package vpcsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// decodeStrictly reads an action's parameters: an object of known fields.
func decodeStrictly(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	if !json.Valid(body) {
		return errorf("InvalidParameter", "The request body is not JSON.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mistyped):
		return errorf("InvalidParameter", "The parameter `%s` has a wrong type.", mistyped.Field)
	case err != nil:
		return errorf("UnknownParameter", "%v", err)
	}
	return nil
}

// maxListed is how many addresses, and maxIDs how many IDs, one call may name.
const (
	maxListed = 10
	maxIDs    = 100
)

// tencentAddress is an element of PrivateIpAddresses.
type tencentAddress struct {
	PrivateIpAddress, Description string
	Primary                       bool
}

// parseListed reads the addresses that a call names.
func parseListed(listed []tencentAddress) ([]netip.Addr, error) {
	if len(listed) > maxListed {
		return nil, errorf("InvalidParameterValue.LimitExceeded", "At most %d addresses can be specified.", maxListed)
	}
	var addresses []netip.Addr
	for _, a := range listed {
		ip, err := netip.ParseAddr(a.PrivateIpAddress)
		switch {
		case err != nil || !ip.Is4():
			return nil, errorf("InvalidParameterValue.Malformed", "The address %q is malformed.", a.PrivateIpAddress)
		case slices.Contains(addresses, ip):
			return nil, errorf("InvalidParameterValue.DuplicatePara", "The address %s is given twice.", ip)
		}
		addresses = append(addresses, ip)
	}
	return addresses, nil
}

// checkID says what is wrong with the form of an ID.
func checkID(kind, id string) error {
	switch {
	case id == "":
		return errorf("MissingParameter", "The request is missing a required parameter: the ID of a %s.", kind)
	case !strings.HasPrefix(id, kind+"-"):
		return errorf("InvalidParameterValue.Malformed", "The ID %q is malformed.", id)
	}
	return nil
}

// tencentFilter is an element of Filters. Those of a call are all to be met, with any of their values.
type tencentFilter struct {
	Name   string
	Values []string
}

// selection is how a Describe call says what it wants.
type selection struct {
	ids     []string
	filters []tencentFilter
}

// check says what is wrong with the selection itself. passes says whether a thing passes a filter, and whether the API knows
// such a filter.
func (s selection) check(passes filterTest) error {
	switch {
	case len(s.ids) > 0 && len(s.filters) > 0:
		return errorf("InvalidParameter.Coexist", "IDs and Filters cannot be specified together.")
	case len(s.ids) > maxIDs:
		return errorf("InvalidParameterValue.LimitExceeded", "At most %d IDs can be specified.", maxIDs)
	}
	for _, f := range s.filters {
		if _, known := passes(f.Name, f.Values); !known {
			return errorf("InvalidParameter.FilterInvalidKey", "The filter `%s` is invalid.", f.Name)
		}
	}
	return nil
}

type filterTest func(name string, values []string) (passes, known bool)

// matches says whether the thing of the ID is selected.
func (s selection) matches(id string, passes filterTest) bool {
	if len(s.ids) > 0 {
		return slices.Contains(s.ids, id)
	}
	for _, f := range s.filters {
		if ok, _ := passes(f.Name, f.Values); !ok {
			return false
		}
	}
	return true
}

// oneOf is the test of filters that compare whole values.
func oneOf(values []string, have ...string) (passes, known bool) {
	return slices.ContainsFunc(have, func(h string) bool { return slices.Contains(values, h) }), true
}

// The size of pages where a call gives none, and at most.
const (
	tencentPage    = 20
	tencentMaxPage = 100
)

// page cuts a page out of a list. Without a limit it has the default size.
func page[T any](all []T, offset int, limit *int) ([]T, error) {
	size := tencentPage
	if limit != nil {
		size = *limit
	}
	if offset < 0 || size < 1 || size > tencentMaxPage {
		return nil, errorf("InvalidParameterValue.Range", "Offset %d or Limit %d is out of range.", offset, size)
	}
	offset = min(offset, len(all))
	return all[offset:min(len(all), offset+size)], nil
}
