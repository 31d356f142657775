"""Judges the double by the calls that CCM makes, with the genuine Python client of Supabase.

Usage: supabase-py.py URL KEY. What the double answers must be what this client, unchanged, takes for right.
"""

import asyncio
import json
import sys
import traceback
import urllib.request
import uuid

from postgrest.exceptions import APIError
from supabase import AsyncClientOptions, acreate_client
from supabase_auth.errors import AuthApiError

URL, KEY = sys.argv[1:3]
EMAIL = f"judge-{uuid.uuid4()}@example.com"
PASSWORD = "a password of the judge"
ME = {"p_device": str(uuid.uuid4()), "p_incarnation": str(uuid.uuid4()), "p_protocol": 1}
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}
# How long a poke may take.
PATIENCE = 20


def double(act, **body):
    request = urllib.request.Request(f"{URL}/_double/{act}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def client():
    return await acreate_client(URL, KEY, AsyncClientOptions(auto_refresh_token=False, persist_session=False))


async def signed_in():
    supabase = await client()
    answer = await supabase.auth.sign_in_with_password(CREDENTIALS)
    return supabase, answer.session


async def call(supabase, function, **more):
    return (await supabase.rpc(function, {**ME, **more}).execute()).data


async def refused(what, kind=APIError):
    try:
        await what
    except kind as error:
        return error
    raise AssertionError("it was not refused")


async def sign_in():
    supabase = await client()
    await supabase.auth.sign_up(CREDENTIALS)
    wrong = supabase.auth.sign_in_with_password({**CREDENTIALS, "password": "not this one"})
    error = await refused(wrong, AuthApiError)
    assert (error.code, error.status) == ("invalid_credentials", 400), error
    supabase, session = await signed_in()
    assert session.token_type == "bearer" and session.refresh_token
    user = (await supabase.auth.get_user()).user
    assert user.email == EMAIL and user.id == session.user.id


async def refresh():
    supabase, first = await signed_in()
    second = (await supabase.auth.refresh_session()).session
    third = (await supabase.auth.refresh_session()).session
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    double("tokens/age", seconds=60)
    error = await refused((await client()).auth.refresh_session(first.refresh_token), AuthApiError)
    assert error.code == "refresh_token_already_used", error.code
    await refused((await client()).auth.refresh_session(third.refresh_token), AuthApiError)


async def functions():
    supabase, _ = await signed_in()
    error = await refused(call(supabase, "ccm_devices"))
    assert (error.code, error.details) == ("PT403", "not_registered"), error
    welcome = await call(supabase, "ccm_register", p_previous=None, p_hostname="judge")
    assert welcome["last_number"] == 0
    body = {"project_id": str(uuid.uuid4()), "repository": "example.com/x", "any_machine": True, "title": "größe"}
    task = {"number": 1, "uuid": str(uuid.uuid4()), "kind": "task", "id": str(uuid.uuid4()), "body": body,
            "hlc_time": 1, "hlc_count": 0}
    pushed = await call(supabase, "ccm_push", p_mode="manual", p_operations=[task])
    assert pushed["results"][0]["status"] == "taken" and pushed["rows"][0]["operation"] == task["uuid"]
    again = await call(supabase, "ccm_push", p_mode="manual", p_operations=[task])
    assert again["results"][0]["status"] == "skipped"
    error = await refused(call(supabase, "ccm_push", p_mode="manual", p_operations=[{**task, "number": 3}]))
    assert (error.code, error.details) == ("PT409", "gap"), error
    pulled = await call(supabase, "ccm_pull", p_after=0, p_limit=10, p_nonces=[], p_nonce=str(uuid.uuid4()))
    assert (len(pulled["rows"]), pulled["cursor"], pulled["more"]) == (1, 1, False)
    lease = await call(supabase, "ccm_claim", p_claim=str(uuid.uuid4()), p_task=task["id"], p_seconds=60)
    error = await refused(call(supabase, "ccm_claim", p_claim=str(uuid.uuid4()), p_task=task["id"], p_seconds=60))
    assert error.details == "lease_held", error
    await call(supabase, "ccm_finish", p_task=task["id"], p_token=lease["token"])
    error = await refused(supabase.table("ccm_entities").select("*").execute())
    assert error.code == "42501", error
    assert len((await supabase.table("ccm_sequences").select("*").execute()).data) == 1


async def realtime():
    supabase, session = await signed_in()
    await call(supabase, "ccm_register", p_previous=None, p_hostname="judge")
    await supabase.realtime.set_auth(session.access_token)
    settled, told = asyncio.Event(), asyncio.get_running_loop().create_future()
    channel = supabase.channel("sequence")
    channel.on_postgres_changes("UPDATE", told.set_result, schema="public", table="ccm_sequences")
    channel.on_system(lambda message: settled.set() if message.status == "ok" else None)
    await channel.subscribe()
    await asyncio.wait_for(settled.wait(), PATIENCE)
    wish = {"number": 2, "uuid": str(uuid.uuid4()), "kind": "wish", "id": str(uuid.uuid4()), "body": {},
            "hlc_time": 1, "hlc_count": 0}
    await call(supabase, "ccm_push", p_mode="manual", p_operations=[wish])
    change = await asyncio.wait_for(told, PATIENCE)
    assert change["data"]["record"]["user_id"] == session.user.id, change
    await supabase.remove_all_channels()


async def second_factor():
    supabase, _ = await signed_in()
    factor = await supabase.auth.mfa.enroll({"factor_type": "totp", "friendly_name": "phone"})
    challenge = await supabase.auth.mfa.challenge({"factor_id": factor.id})
    answer = {"factor_id": factor.id, "challenge_id": challenge.id}
    error = await refused(supabase.auth.mfa.verify({**answer, "code": "00000"}), AuthApiError)
    assert error.code == "mfa_verification_failed", error.code
    code = double("totp", secret=factor.totp.secret)["code"]
    await supabase.auth.mfa.verify({**answer, "code": code})
    level = await supabase.auth.mfa.get_authenticator_assurance_level()
    assert (level.current_level, level.next_level) == ("aal2", "aal2"), level
    await call(supabase, "ccm_register", p_previous=None, p_hostname="judge")
    low, _ = await signed_in()
    error = await refused(call(low, "ccm_devices"))
    assert (error.code, error.details) == ("PT403", "aal_required"), error
    user = (await low.auth.get_user()).user
    assert [factor.status for factor in user.factors] == ["verified"]
    await supabase.auth.mfa.unenroll({"factor_id": factor.id})


async def sign_out():
    one, session = await signed_in()
    two, _ = await signed_in()
    await one.auth.sign_out({"scope": "local"})
    await two.auth.get_user()
    error = await refused((await client()).auth.refresh_session(session.refresh_token), AuthApiError)
    assert error.code == "refresh_token_not_found", error.code


async def main():
    failed = False
    for case in [sign_in, refresh, functions, realtime, second_factor, sign_out]:
        try:
            await case()
            print(f"ok    {case.__name__}")
        except Exception:
            print(f"FAIL  {case.__name__}")
            traceback.print_exc(file=sys.stdout)
            failed = True
    sys.exit(failed)


asyncio.run(main())
