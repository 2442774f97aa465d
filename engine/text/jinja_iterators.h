#pragma once

#include <memory>

#include "engine/base/status.h"
#include "engine/text/jinja_value.h"

namespace assay::jinja {

// iter(): an iterator value gives itself, so that two walks share what is left. Errors: bad_data for what cannot be
// walked ("'int' object is not iterable") and for a chain of iterators over the depth limit.
Result<std::shared_ptr<Iterator>> iterate(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);

// reversed(): from the last item to the first. Errors: bad_data for what has no last item.
Result<std::shared_ptr<Iterator>> iterate_reversed(Runtime& runtime, const Value& value);
bool is_reversible(const Value& value);

// list(): everything that is left.
Result<Values> collect(Runtime& runtime, const Value& value);
Result<Values> collect_rest(Runtime& runtime, Iterator& iterator);

// An iterator value over a new iterator. Errors: bad_data when it stands on too many others.
Result<Value> make_iterator(Runtime& runtime, std::shared_ptr<Iterator> iterator);

}  // namespace assay::jinja
