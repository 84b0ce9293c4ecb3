"""Guard single routes of FastAPI.

```python
pays = Require(introspector, "payments")


@app.post("/payments")
async def pay(caller: Annotated[Caller, Depends(pays)]) -> str:
    return f"paid by {caller.subject_id}"
```

The OpenAPI document of the application says which routes need a token. Needs `pip install tenure[fastapi]`.
"""

from fastapi import HTTPException, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from ._bearer import DeniedError, admit, checked_scopes
from .verify import Caller, Judge

__all__ = ["Require"]


class Require(SecurityBase):
    """A dependency that gives the [`Caller`][tenure.verify.Caller], if its token counts and has these scopes."""

    def __init__(self, judge: Judge, *scopes: str) -> None:
        self._judge, self._scopes = judge, checked_scopes(scopes)
        self.model = HTTPBearer(description="A token of Tenure")
        self.scheme_name = "tenure"

    async def __call__(self, request: Request) -> Caller:
        """Judge the token of a request; FastAPI answers one that may not pass."""
        try:
            return await admit(self._judge, request.headers.raw, self._scopes)
        except DeniedError as denied:
            raise HTTPException(denied.status, headers=denied.headers) from None
