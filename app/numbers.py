"""Telephone numbers of the configuration, brought to E.164. Not for the path of a call: that has prefix rules."""

import phonenumbers


def e164(text: str, country: str) -> str:
    """`+8613912345678` of a number as people write it. Raises ValueError with words for them."""
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException as error:
        hint = "" if country else ": begin it with + and the country code, or set 'country' in callwright.yaml"
        raise ValueError(f"'{text}' is no telephone number{hint}") from error
    if not phonenumbers.is_possible_number(number):
        raise ValueError(f"'{text}' is too short or too long for a telephone number of its country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
