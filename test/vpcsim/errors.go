package vpcsim

import (
	"fmt"
	"net/http"
)

// APIError is an error as EC2 answers it.
type APIError struct {
	Code    string
	Status  int
	Message string
}

// Error returns EC2's code and message.
func (e *APIError) Error() string { return e.Code + ": " + e.Message }

func errorf(code, format string, args ...any) error {
	return &APIError{Code: code, Status: statusOf(code), Message: fmt.Sprintf(format, args...)}
}

// statusOf returns the HTTP status with which EC2 answers the code: 400 for what the client did wrong, 5xx for its own
// failures (EC2 API Reference, "Error codes").
func statusOf(code string) int {
	switch code {
	case "AuthFailure":
		return http.StatusUnauthorized
	case "UnauthorizedOperation", "SignatureDoesNotMatch", "MissingAuthenticationToken", "OptInRequired":
		return http.StatusForbidden
	case "InternalError", "InternalFailure":
		return http.StatusInternalServerError
	case "RequestLimitExceeded", "Unavailable", "ServiceUnavailable":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
