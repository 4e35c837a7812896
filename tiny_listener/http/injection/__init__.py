"""What handlers may ask for of a request, in addition to what they may ask for of every event.

Importing this package extends `tiny_listener.core.injection`.
"""

from ...core.injection.markers import class_planners, request_patterns
from ...core.injection.resolvers import error_makers
from ..routing import is_request_pattern
from .bodies import Body
from .cloudevents import plan_cloudevent
from .fields import Cookie, Header, Query
from .invalid import InvalidRequest, error_of_request

__all__ = ["Body", "Cookie", "Header", "InvalidRequest", "Query"]

request_patterns.append(is_request_pattern)
error_makers.append(error_of_request)
class_planners.append(plan_cloudevent)
