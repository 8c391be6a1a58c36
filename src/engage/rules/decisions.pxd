cpdef object proposed_again(object waited, object event, str account)
cpdef object decision(object proposal, object verdict, str matter)
cpdef tuple checked_wake(object wake)
cpdef object checked_request(object request, object base)
cdef bint _plainly_fits(object request) except -1
cdef object _service_level(object proposal)
cdef object _deferred(object proposal, object until)
cdef str _id_of(object proposal, str kind)
cpdef str isoformat(object moment)
